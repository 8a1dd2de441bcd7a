"""What a keeper costs while idle, and what runs leave at a scheduler: ``python -m tests.bench.keeper``.

The keeper is a process of its own, as in its pod. Its API server is a fake one without TLS, so that only the TLS of
its scheduler is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from flowcluster import flow, get_run_logger, task
from flowcluster.task_runners import DaskTaskRunner
from flowcluster_api import driver, names
from flowcluster_api.keeper import Bounds
from tests.bench.common import Table, logging_at
from tests.support import unmeasured
from tests.support.dask_processes import DaskProcesses
from tests.support.kept import CLUSTER, Kept
from tests.support.ray_head import RayHead
from tests.support.waiting import wait_until

BOUND_MIB, BOUND_CORES, BOUND_GROWTH = 100, 0.02, 20
#: Seconds until the start is over, and seconds of idleness that are measured.
SETTLE, IDLE = 15.0, 60.0
RUNS, TASKS, LINES = 50, 200, 20
#: Bytes of a result that is fetched, and of one that stays on the worker.
RESULT = 200_000

TOKEN = "0123456789abcdef0123456789abcdef"


@task
def work(number: int) -> bytes:
    """Log some lines, and return something large."""
    for line in range(LINES if number % 10 == 0 else 0):
        get_run_logger().info("line %d of task %d", line, number)
    return bytes(RESULT) if number % 10 == 0 else b""


def mebibytes(pid: int) -> float:
    """Return the resident memory of a process."""
    return float(psutil.Process(pid).memory_info().rss) / 2**20


def cost(pid: int, table: Table, kind: str) -> None:
    """Add the costs of a keeper's process."""
    process = psutil.Process(pid)
    time.sleep(SETTLE)
    before, began = process.cpu_times(), time.monotonic()
    time.sleep(IDLE)
    after, seconds = process.cpu_times(), time.monotonic() - began
    used = after.user + after.system - before.user - before.system
    table.row(f"keeper of {kind}, idle: resident", mebibytes(pid), "MiB", BOUND_MIB, 1)
    table.row(f"keeper of {kind}, idle: CPU", used / seconds, "cores", BOUND_CORES, 4)


@contextlib.contextmanager
def dask_cluster() -> Iterator[DaskProcesses]:
    """A scheduler and a worker of four threads."""
    with tempfile.TemporaryDirectory() as folder, DaskProcesses.start(Path(folder)) as processes:
        processes.add_worker(f"{names.group_name(CLUSTER, 'default')}-worker-0123456789", threads=4)
        yield processes


def idle_dask(table: Table) -> None:
    """Measure a keeper of Dask."""
    with dask_cluster() as processes, Kept.start() as kept:
        kept.instruct(default=Bounds(1, 4, 4))
        with kept.keeper_process("Dask", processes.address, None, processes.environment) as keeper:
            kept.wait_for_demand(default=1)
            cost(keeper.pid, table, "Dask")


def idle_ray(table: Table) -> None:
    """Measure a keeper of Ray."""
    settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    with tempfile.TemporaryDirectory() as folder, RayHead.start(cpus=2, settings=settings) as head:
        Path(folder, driver.TOKEN_FILE).write_text(TOKEN)
        with Kept.start() as kept:
            kept.instruct(default=Bounds(1, 4, 4))
            with kept.keeper_process("Ray", head.address, Path(folder), unmeasured.environment()) as keeper:
                wait_until(lambda: kept.signs().progress, "the keeper has looked")
                cost(keeper.pid, table, "Ray")


def growth(table: Table, runs: int) -> None:
    """Measure the scheduler before and after many runs, one after the other."""
    with dask_cluster() as processes, Kept.start() as kept:
        kept.instruct(default=Bounds(1, 4, 4))
        with kept.keeper("Dask", processes.address), processes.client() as watcher:
            kept.wait_for_demand(default=1)
            before = mebibytes(processes.scheduler_pid)
            for number in range(runs):
                one_run(f"run-{number}", processes, kept)
                sys.stderr.write(f"  run {number + 1} of {runs}: {mebibytes(processes.scheduler_pid):.1f} MiB\n")
            kept.instruct()
            wait_until(lambda: not watcher.run_on_scheduler(clients), "the runs are released")
            after = mebibytes(processes.scheduler_pid)
    table.row("scheduler before the first run", before, "MiB", None, 1)
    table.row(f"scheduler after {runs} runs", after, "MiB", None, 1)
    table.row("growth", 100 * (after - before) / before, "%", BOUND_GROWTH, 1)


def one_run(uid: str, processes: DaskProcesses, kept: Kept) -> None:
    """Run a flow on the cluster, as the driver of a FlowRun."""
    kept.instruct((uid,))
    os.environ |= {driver.ENV_CLUSTER_ADDRESS: processes.address, driver.ENV_RUN_UID: uid}

    @flow(task_runner=DaskTaskRunner(address=processes.address))
    def use() -> int:
        return sum(len(future.result()) for future in work.map(range(TASKS)))

    with logging_at(logging.INFO):
        use()


def clients(dask_scheduler: Any) -> list[str]:
    """Return, on the scheduler, the runs that the keeper has not released."""
    return sorted(dask_scheduler.plugins["flowcluster-runs"].clients)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="dask,ray,growth", help="comma-separated: dask, ray, growth")
    parser.add_argument("--runs", type=int, default=RUNS)
    chosen = parser.parse_args()
    table = Table("A keeper, and its scheduler")
    for name, measure in (("dask", idle_dask), ("ray", idle_ray)):
        if name in chosen.only.split(","):
            measure(table)
    if "growth" in chosen.only.split(","):
        growth(table, chosen.runs)
    table.finish()


if __name__ == "__main__":
    main()
