"""How long runs on Ray take to start, to scale up and to end: ``python -m tests.bench.ray_times [--rounds N]``.

They are compared with the same pods created by hand, and with KubeRay's sample RayCluster and a driver of its own, in
turns on the same node. A Kubernetes is brought up and the chart installed. The bench has a namespace of its own.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import sys
import time
from collections.abc import Iterator

from tests.bench.common import Table
from tests.bench.ray_rig import FLOWS, ByHand, Stock, run, until_usable
from tests.bench.run_times import finished
from tests.support.waiting import wait_until
from tests.support.world import Body, World
from tools.install import install

Rows = dict[str, list[float]]


def one_round(world: World, source: Body, stock: Stock) -> Iterator[tuple[str, float]]:
    """Measure each figure once, and yield its name and its seconds."""
    began = time.time()
    world.create(run("connects", "connects", source, 1, 1))
    yield "ours", until_usable(world, lambda: world.pods("worker"), lambda: world.pods("driver")) - began
    by_hand = ByHand(world)
    world.delete("connects")
    world.wait_empty(60)
    yield "by hand", by_hand.seconds()
    yield "stock", stock.ready()
    world.create(run("first", "first", source, 0, 2))
    status = wait_until(lambda: finished(world.status("first")), "the run is finished", 180)
    over = time.monotonic()
    world.wait_empty(60)
    yield "gone", time.monotonic() - over
    yield "first task", float(json.loads(status["flow"]["result"]))
    world.delete("first")
    yield "stock's first task", stock.first_task()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    installed = install()
    world = World(installed.kubeconfig, f"bench-{secrets.token_hex(3)}")
    world.create_namespace()
    rows: Rows = {}
    try:
        source, stock = world.code(FLOWS), Stock(world, installed.images["runtime"])
        for number in range(rounds):
            sys.stderr.write(f"round {number + 1} of {rounds}\n")
            for name, seconds in one_round(world, source, stock):
                rows.setdefault(name, []).append(seconds)
                sys.stderr.write(f"  {name}: {seconds:.1f} s\n")
    finally:
        world.delete_namespace()
        world.close()
    report(rows)


def report(rows: Rows) -> None:
    """Print the table."""
    median = {name: statistics.median(values) for name, values in rows.items()}
    table = Table("A run on Ray, beside the same pods by hand and KubeRay's sample")
    table.row("FlowRun created → driver connected, 1 worker Ready", median["ours"], "s")
    table.row("the same pods by hand", median["by hand"], "s")
    table.row("KubeRay's sample and a driver", median["stock"], "s")
    table.row("ours / by hand", median["ours"] / median["by hand"], "x", 1.15)
    table.row("ours / sample", median["ours"] / median["stock"], "x", 0.7)
    table.row("task submitted at no worker → it runs", median["first task"], "s")
    table.row("the same with KubeRay's autoscaler by default", median["stock's first task"], "s")
    table.row("ours / by default", median["first task"] / median["stock's first task"], "x", 1.0)
    table.row("run finished → nothing left", median["gone"], "s", 10)
    table.finish()


if __name__ == "__main__":
    main()
