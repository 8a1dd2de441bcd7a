"""The same no-op tasks on Prefect, if it is installed: ``python -m tests.bench.prefect_overhead dask``.

It prints one line of JSON for `task_overhead`, which runs it in a process of its own: Prefect changes how a process
logs, and starts a server, here with an empty home directory. Its environment can differ from ours.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from tests.bench import payload

#: Log only errors, and wait longer for its server, as a machine can be slow.
SETTINGS = {
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
}


def noop(number: int) -> None:
    """Do nothing."""


@contextlib.contextmanager
def concurrent() -> Iterator[tuple[Any, list[int]]]:
    """Use threads: nothing is pickled."""
    yield import_module("prefect.task_runners").ThreadPoolTaskRunner(), []


@contextlib.contextmanager
def dask() -> Iterator[tuple[Any, list[int]]]:
    """Use two processes with one thread each."""
    distributed = import_module("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        payload.pickled_by_dask() as sizes,
    ):
        yield import_module("prefect_dask").DaskTaskRunner(address=cluster.scheduler_address), sizes


@contextlib.contextmanager
def ray() -> Iterator[tuple[Any, list[int]]]:
    """Use two CPUs."""
    kwargs = {"num_cpus": 2, "include_dashboard": False, "log_to_driver": False}
    with payload.pickled_by_ray() as sizes:
        yield import_module("prefect_ray").RayTaskRunner(init_kwargs=kwargs), sizes


RUNNERS = {"concurrent": concurrent, "dask": dask, "ray": ray}


def measure(name: str, count: int) -> dict[str, tuple[float, str]]:
    """Return value and unit of each figure."""
    prefect = import_module("prefect")
    task = prefect.task(noop)
    with RUNNERS[name]() as (runner, sizes):

        def body() -> float:
            # The first task of each worker takes seconds.
            for future in [task.submit(number) for number in range(8)]:
                future.result()
            sizes.clear()
            started = time.perf_counter()
            futures = [task.submit(number) for number in range(count)]
            for future in futures:
                future.result()
            return time.perf_counter() - started

        flow = prefect.flow(task_runner=runner)(body)
        figures = {"a task run": (flow() / count * 1000, "ms")}
        if sizes:
            figures["pickled for a task run"] = (sum(sizes) / len(sizes), "B")
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=RUNNERS)
    parser.add_argument("--tasks", type=int, default=200)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        os.environ.update(SETTINGS, PREFECT_HOME=home)
        figures = measure(chosen.name, chosen.tasks)
        print(json.dumps(figures))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
