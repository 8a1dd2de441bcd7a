"""How soon clusters scale up with the work and down after it: ``python -m tests.bench.scaling_times [--repeats N]``.

They are compared with dask-kubernetes' own KubeCluster and its DaskAutoscaler, on the same work, image and pods, in
turns, and with a bare worker's pod. Tasks that ran more than once are counted. A Kubernetes is brought up and the chart
installed. The bench has a namespace of its own.
"""

from __future__ import annotations

import argparse
import os
import secrets
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from distributed import Client, get_worker

from flowcluster.clusters import DaskKubernetesCluster
from tests.bench import by_hand
from tests.bench.common import Table, expect_other_patch_release
from tests.support.waiting import wait_until
from tests.support.world import World, scale
from tools.install import SYSTEM, UPSTREAM, Installed, install

#: Workers at most, tasks, and seconds of each: enough to keep all workers busy for a while.
MAXIMUM, TASKS, TASK_SECONDS = 3, 9, 4.0
#: Seconds for which a worker of ours must have been idle.
IDLE = 2.0

Rows = dict[str, list[float]]


class Rig:
    """A namespace, and the three kinds of clusters in it."""

    def __init__(self, installed: Installed) -> None:
        self.installed = installed
        self.world = World(installed.kubeconfig, f"bench-{secrets.token_hex(3)}")
        os.environ["KUBECONFIG"] = str(installed.kubeconfig)

    def renew_upstream(self) -> None:
        """Restart dask-kubernetes: its autoscaler, which queries a scheduler that is gone, blocks it for minutes."""
        system = World(self.installed.kubeconfig, SYSTEM)
        for replicas in (0, 1):
            scale(system, UPSTREAM, replicas)
        system.close()

    def workers(self, *, with_leaving: bool = False) -> int:
        """Return the number of Dask workers' pods, with those that are being deleted if `with_leaving`."""
        selector = "dask.org/component=worker"
        pods = self.world.core.list_namespaced_pod(self.world.namespace, label_selector=selector).items
        return sum(with_leaving or pod.metadata.deletion_timestamp is None for pod in pods)

    def ours(self) -> AbstractContextManager[Any]:
        """Return a cluster of ours that adapts."""
        return DaskKubernetesCluster(namespace=self.world.namespace)

    def stock(self) -> AbstractContextManager[Any]:
        """Return dask-kubernetes' own cluster, of the same pods."""
        from dask_kubernetes.operator import KubeCluster

        spec = by_hand.plain_cluster(self.world.namespace, self.installed.images["runtime"])
        spec["metadata"] = {"name": f"stock-{secrets.token_hex(3)}"}
        scheduler = spec["spec"]["scheduler"]
        scheduler["service"]["selector"]["dask.org/cluster-name"] = spec["metadata"]["name"]
        for part in ("scheduler", "worker"):
            del spec["spec"][part]["metadata"]  # with it, our operator would treat it as part of a deleted run
        return KubeCluster(custom_cluster_spec=spec, namespace=self.world.namespace, quiet=True)  # type: ignore[no-any-return]

    def bare(self, scheduler: str, client: Client) -> float:
        """Return the seconds from the creation of a worker's pod until it is connected to the scheduler of our run."""
        (pod,) = self.world.pods("scheduler")
        keys = next(volume.secret.secret_name for volume in pod.spec.volumes if volume.secret)
        built = by_hand.cluster(self.world.namespace, self.installed.images["runtime"], keys=keys)
        spec = built["spec"]["worker"]["spec"]
        (container,) = spec["containers"]
        args = [scheduler if arg.startswith("tls://") else arg for arg in container["args"]]
        env = [*container["env"], {"name": "DASK_WORKER_NAME", "value": "bare"}]
        body = {"metadata": {"name": "bare"}, "spec": {**spec, "containers": [container | {"args": args, "env": env}]}}
        started = time.monotonic()
        self.world.core.create_namespaced_pod(self.world.namespace, body)
        wait_until(lambda: _is_connected(client, "bare"), "the bare worker is connected", 60)
        took = time.monotonic() - started
        self.world.core.delete_namespaced_pod("bare", self.world.namespace, grace_period_seconds=0)
        wait_until(lambda: not _is_connected(client, "bare"), "it is gone", 60)
        return took


def _is_connected(client: Client, name: str) -> bool:
    workers = client.sync(client.scheduler.identity)["workers"].values()
    return any(worker["name"] == name for worker in workers)


def single(rig: Rig, client: Client) -> float:
    """Return the seconds until a single task runs when there is no worker, and wait until there is none again."""
    began = time.time()
    future = client.submit(_task, 0, pure=False)
    started, _ = future.result()
    del future
    wait_until(lambda: rig.workers(with_leaving=True) == 0, "the worker is gone", 120)
    return float(started) - began


def wave(rig: Rig, client: Client) -> dict[str, float]:
    """Run one wave of work.

    Returns the seconds until the first and all pods exist, the seconds from the end of the work until no worker
    is left, and the number of tasks that ran more than once.
    """
    began, earlier = time.time(), len(client.get_events("runs"))
    futures = client.map(_task, range(TASKS), pure=False)
    found = {}
    wait_until(lambda: rig.workers() >= 1, "there is a worker", 120)
    found["first pod"] = time.time() - began
    wait_until(lambda: rig.workers() >= MAXIMUM, "all workers are there", 180)
    found["all pods"] = time.time() - began
    ended = max(until for _, until in client.gather(futures))
    found["repeated"] = len(client.get_events("runs")) - earlier - TASKS
    del futures
    wait_until(lambda: rig.workers(with_leaving=True) == 0, "all workers are gone", 300)
    found["back to none"] = time.time() - ended
    return found


def _task(number: int) -> tuple[float, float]:
    started = time.time()
    get_worker().log_event("runs", number)
    time.sleep(TASK_SECONDS)
    return started, time.time()


# Sent with its code: workers do not have this module.
_task.__module__ = "__main__"


def measure(rig: Rig, repeats: int) -> tuple[Rows, Rows, list[float]]:
    """Return the figures of our cluster and of the stock cluster, in turns, and of bare workers."""
    ours: Rows = {}
    stock: Rows = {}
    bare: list[float] = []
    for number in range(repeats):
        for what, make, rows in (("ours", rig.ours, ours), ("stock", rig.stock, stock)):
            sys.stderr.write(f"round {number + 1} of {repeats}: {what}\n")
            rig.renew_upstream()
            _one(rig, make, rows, bare if what == "ours" else None)
    return ours, stock, bare


def _one(rig: Rig, make: Callable[[], AbstractContextManager[Any]], rows: Rows, bare: list[float] | None) -> None:
    with make() as cluster, Client(cluster) as client:
        if bare is not None:
            address = rig.world.status(cluster.name)["cluster"]["address"]
            cluster.scale(0)
            bare.append(rig.bare(address, client))
            cluster.adapt(minimum=0, maximum=MAXIMUM, idle=IDLE, down_delay=0)
            rows.setdefault("first task", []).append(single(rig, client))
        else:
            cluster.adapt(minimum=0, maximum=MAXIMUM)
        for name, value in wave(rig, client).items():
            rows.setdefault(name, []).append(value)
    wait_until(lambda: rig.workers(with_leaving=True) == 0, "the cluster is gone", 60)


def report(ours: Rows, stock: Rows, bare: list[float]) -> None:
    """Print the table, and end with code 1 if a bound is exceeded."""
    mine = {name: statistics.median(values) for name, values in ours.items()}
    theirs = {name: statistics.median(values) for name, values in stock.items()}
    pod = statistics.median(bare)
    table = Table(f"{TASKS} tasks of {TASK_SECONDS:g} s, 0 to {MAXIMUM} workers and back")
    table.row("bare worker's pod created → connected", pod, "s")
    # The agent queries the demand every second. After that, one second is allowed.
    table.row("work → first worker's pod, the slowest", max(ours["first pod"]), "s", 2)
    table.row("a task → it runs, ours / bare worker", mine["first task"] / pod, "x", 1.5)
    table.row("a task → it runs, ours", mine["first task"], "s")
    table.row("work → all workers' pods, ours", mine["all pods"], "s")
    table.row("work → all workers' pods, stock", theirs["all pods"], "s")
    table.row("   ours / stock", mine["all pods"] / theirs["all pods"], "x", 1 / 3)
    table.row("work done → no worker left, ours", mine["back to none"], "s", IDLE + 5)
    table.row("work done → no worker left, stock", theirs["back to none"], "s")
    table.row("   ours / stock", mine["back to none"] / theirs["back to none"], "x", 1 / 5)
    table.row("tasks that ran more than once, ours", sum(ours["repeated"]), "", 0, digits=0)
    table.row("tasks that ran more than once, stock", sum(stock["repeated"]), "", digits=0)
    table.finish()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    expect_other_patch_release()
    rig = Rig(install())
    rig.world.create_namespace()
    try:
        found = measure(rig, repeats)
    finally:
        rig.world.delete_namespace()
        rig.world.close()
    report(*found)


if __name__ == "__main__":
    main()
