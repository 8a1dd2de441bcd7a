"""How soon work starts on a warm shared cluster, and how soon that scales up: ``python -m tests.bench.shared_times``.

They are compared with runs that have Dask clusters of their own, on the same work, image and pods, in turns. A
Kubernetes is brought up and the chart installed. The bench has a namespace of its own.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from distributed import Client

from flowcluster.clusters import DaskKubernetesCluster, SharedKubernetesCluster
from tests.bench.common import Table, expect_other_patch_release
from tests.bench.run_times import FLOWS, finished, imports
from tests.bench.scaling_times import MAXIMUM, TASK_SECONDS, TASKS, Rig, wave
from tests.support.shared_clusters import shared_cluster
from tests.support.waiting import wait_until
from tests.support.world import World
from tools.install import install

#: Seconds until the first task of a FlowRun, without its driver's own start, and of a Python program.
FLOW_RUN_BOUND, PYTHON_BOUND = 3.0, 1.5
#: Seconds until the agent of a run first queries its scheduler, and between two queries of an agent or keeper.
STARTED_SECONDS, LOOK_SECONDS = 3.0, 1.0
#: Bound: times of a shared cluster, relative to those of a run's own cluster.
AS_FAST = 1.25

Rows = dict[str, list[float]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="starts,scaling", help="comma-separated: starts, scaling")
    chosen = parser.parse_args()
    parts = chosen.only.split(",")
    expect_other_patch_release()
    table = Table("Shared Dask cluster")
    rig = Rig(install())
    rig.world.create_namespace()
    try:
        if "starts" in parts:
            report_starts(table, starts(rig.world, chosen.repeats), imports(rig.world))
        if "scaling" in parts:
            report_scaling(table, *waves(rig, chosen.repeats))
    finally:
        rig.world.delete_namespace()
        rig.world.close()
    table.finish()


def starts(world: World, rounds: int) -> Rows:
    """Return the seconds until the first task of each way to use a cluster."""
    source = world.code(FLOWS)
    one = {"minimum": 1, "maximum": 1}
    found: Rows = {}
    with shared_cluster(world, "Dask", workers=one):
        ways: dict[str, Callable[[int], float]] = {
            "FlowRun, shared": lambda number: flow_run(world, source, f"shared-{number}", {"ref": {"name": "team"}}),
            "Python, shared": lambda _: program(lambda: SharedKubernetesCluster("team", namespace=world.namespace)),
            "FlowRun, own": lambda number: flow_run(world, source, f"own-{number}", {"kind": "Dask", "workers": one}),
            "Python, own": lambda _: program(lambda: DaskKubernetesCluster(n_workers=1, namespace=world.namespace)),
        }
        for number in range(rounds):
            sys.stderr.write(f"starts: {number + 1} of {rounds}\n")
            for name, way in ways.items():
                found.setdefault(name, []).append(way(number))
                wait_until(lambda: len(world.pods("scheduler")) == 1, "the run's own cluster is gone", 60)
    return found


def flow_run(world: World, source: dict[str, Any], name: str, cluster: dict[str, Any]) -> float:
    """Return the seconds from the creation of a FlowRun until its first task."""
    body = {
        "apiVersion": "flowcluster.dev/v1alpha1",
        "kind": "FlowRun",
        "metadata": {"name": name},
        "spec": {"flow": {"entrypoint": "starts.py:first", "source": source}, "cluster": cluster},
    }
    began = time.time()
    world.create(body)
    status = wait_until(lambda: finished(world.status(name)), f"{name} is finished", 180)
    return float(json.loads(status["flow"]["result"])["first"]) - began


def program(make: Callable[[], Any]) -> float:
    """Return the seconds until a program, whose imports are done, has the result of its first task."""
    began = time.monotonic()
    with make() as cluster, Client(cluster) as client:
        client.submit(sum, [1, 2]).result(120)
        return time.monotonic() - began


def waves(rig: Rig, rounds: int) -> tuple[Rows, Rows]:
    """Return the figures of `wave` on a shared cluster, and on clusters of runs."""
    shared, own = Rows(), Rows()
    with shared_cluster(rig.world, "Dask", "elastic", workers={"minimum": 0, "maximum": MAXIMUM}):
        for number in range(rounds):
            sys.stderr.write(f"0 to {MAXIMUM} workers and back: {number + 1} of {rounds}\n")
            with (
                SharedKubernetesCluster("elastic", namespace=rig.world.namespace) as cluster,
                Client(cluster) as client,
            ):
                collect(shared, wave(rig, client))
            with DaskKubernetesCluster(namespace=rig.world.namespace) as cluster, Client(cluster) as client:
                cluster.adapt(minimum=0, maximum=MAXIMUM)
                # The agent's first query is over. The work starts at any moment between two, as with the keeper.
                time.sleep(STARTED_SECONDS + random.uniform(0, LOOK_SECONDS))
                collect(own, wave(rig, client))
    return shared, own


def collect(rows: Rows, found: dict[str, float]) -> None:
    """Add the figures of one round."""
    for name, value in found.items():
        rows.setdefault(name, []).append(value)


def report_starts(table: Table, found: Rows, importing: dict[str, float]) -> None:
    """Add the seconds until the first tasks."""
    median = {name: statistics.median(values) for name, values in found.items()}
    driver = importing["process"] + importing["distributed"]
    table.row("FlowRun on a warm cluster created → first task", median["FlowRun, shared"], "s")
    table.row("   the driver's own start and imports", driver, "s")
    table.row("   without that", median["FlowRun, shared"] - driver, "s", FLOW_RUN_BOUND)
    table.row("FlowRun with a cluster of its own → first task", median["FlowRun, own"], "s")
    table.row("   shared / own", median["FlowRun, shared"] / median["FlowRun, own"], "x", 1)
    table.row("Python on a warm cluster → result of the first task", median["Python, shared"], "s", PYTHON_BOUND)
    table.row("Python with a cluster of its own → the same", median["Python, own"], "s")
    table.row("   shared / own", median["Python, shared"] / median["Python, own"], "x", 1)


def report_scaling(table: Table, shared: Rows, own: Rows) -> None:
    """Add how soon workers come and leave."""
    work = f"{TASKS} tasks of {TASK_SECONDS:g} s"
    texts = {
        "first pod": f"{work} → first worker's pod",
        "all pods": f"{work} → pods of all {MAXIMUM} workers",
        "back to none": "work done → no worker left",
    }
    for name, text in texts.items():
        ours, theirs = statistics.median(shared[name]), statistics.median(own[name])
        table.row(f"{text}, shared", ours, "s")
        table.row(f"{text}, own", theirs, "s")
        table.row("   shared / own", ours / theirs, "x", AS_FAST)
    table.row("tasks that ran more than once, shared", sum(shared["repeated"]), "", 0, digits=0)


if __name__ == "__main__":
    main()
