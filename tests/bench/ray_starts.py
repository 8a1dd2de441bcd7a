"""Starts of Ray clusters, one after the other: ``python -m tests.bench.ray_starts [--starts N] [--busy]``.

Each start is a program of its own, outside of Kubernetes: a flow that gets a cluster, connects to it as a Ray client
and ends. A head that has just started can let a client hang for forty seconds. The table shows each client that waited
long. With ``--busy`` the CPUs have other work meanwhile. A Kubernetes is brought up and the chart installed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import statistics
import subprocess
import sys
from collections.abc import Iterator

from tests.bench.common import Table
from tests.support.world import World
from tools.install import install

PROGRAM = """
import json, sys, time
from flowcluster import flow
from flowcluster.clusters import RayKubernetesCluster
from flowcluster.task_runners import RayTaskRunner

began, ready = time.time(), []

def made(**kwargs):
    cluster = RayKubernetesCluster(**kwargs)
    ready.append(time.time())
    return cluster

runner = RayTaskRunner(
    cluster_class=made, cluster_kwargs={"namespace": sys.argv[1]}, adapt_kwargs={"minimum": 0, "maximum": 1}
)

@flow(task_runner=runner)
def connected():
    return time.time()

end = connected()
print(json.dumps({"cluster": ready[0] - began, "connect": end - ready[0], "both": end - began}))
"""
#: Seconds after which a start counts as hanging, and seconds that a client can take to connect.
HANGS, SLOW = 180, 20.0


def start(namespace: str) -> dict[str, float] | str:
    """Return the seconds of one start, or the error."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, namespace], capture_output=True, text=True, timeout=HANGS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no end after {HANGS} s"
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Run that many processes that only compute, in the block."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=100)
    parser.add_argument("--busy", action="store_true", help="one process for each CPU computes meanwhile")
    options = parser.parse_args()
    installed = install()
    os.environ["KUBECONFIG"] = str(installed.kubeconfig)
    world = World(installed.kubeconfig, f"bench-{secrets.token_hex(3)}")
    world.create_namespace()
    good: list[dict[str, float]] = []
    bad: list[str] = []
    try:
        with busy((os.cpu_count() or 1) if options.busy else 0):
            for number in range(options.starts):
                found = start(world.namespace)
                (good.append(found) if isinstance(found, dict) else bad.append(found))
                sys.stderr.write(f"  {number + 1} of {options.starts}: {found}\n")
        world.wait_empty(60)
    finally:
        world.delete_namespace()
        world.close()
    report(good, bad)


def report(good: list[dict[str, float]], bad: list[str]) -> None:
    """Print the table."""
    table = Table(f"{len(good) + len(bad)} starts in a row")
    table.row("starts that failed or hung", len(bad), "", 0, 0)
    for text in sorted(set(bad)):
        table.text("  for example", text)
    for name, what in (
        ("both", "flow called → it runs"),
        ("cluster", "  of it until there is a cluster"),
        ("connect", "  of it until the client is connected"),
    ):
        seconds = sorted(item[name] for item in good)
        table.row(f"{what}, median", statistics.median(seconds), "s")
        table.row(f"{what}, p99", seconds[min(len(seconds) - 1, round(0.99 * len(seconds)))], "s")
    table.row("clients that took longest to connect", max(item["connect"] for item in good), "s", SLOW)
    table.finish()


if __name__ == "__main__":
    main()
