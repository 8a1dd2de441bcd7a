"""The overhead of a task on each task runner: ``python -m tests.bench.task_overhead``.

Each round times the same number of no-op tasks, submitted and their results collected: with the library that the
task runner uses, in a flow whose log starts at WARNING, and in one whose log starts at INFO and is discarded. The start
of clusters is not counted. If Prefect is installed, its figures are printed beside ours.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from importlib.util import find_spec

from flowcluster import flow, task
from flowcluster.task_runners import TaskRunner
from tests.bench import backends, payload
from tests.bench.backends import Backend
from tests.bench.common import Table, logging_at, medians, options

#: Bound in milliseconds per task, or as a multiple of the library. None: shown without a bound.
BOUND_MS = {"concurrent": 0.10}
BOUND_RATIO = {"dask": 1.2, "ray": 1.2}
BOUND_BYTES = 1_500


def noop(number: int) -> None:
    """Do nothing, so that all time is overhead. It is sent to workers by value, as a script's functions are."""


noop_task = task(noop)


def in_a_flow(runner: TaskRunner, count: int, level: int) -> float:
    """Return the seconds for `count` task runs, from the first ``submit`` to the last result."""

    @flow(task_runner=runner)
    def body() -> float:
        started = time.perf_counter()
        futures = [noop_task.submit(number) for number in range(count)]
        for future in futures:
            future.result()
        return time.perf_counter() - started

    with logging_at(level):
        return body()


def measure(name: str, backend: Backend, count: int, repeats: int, table: Table) -> None:
    """Add the rows of one task runner."""
    found = medians(
        {
            "raw": lambda: backend.raw(noop, count),
            "ours": lambda: in_a_flow(backend.runner, count, logging.WARNING),
            "INFO": lambda: in_a_flow(backend.runner, count, logging.INFO),
        },
        repeats,
    )
    raw, ours, info = (found[key] / count * 1000 for key in ("raw", "ours", "INFO"))
    table.row(f"{name}: {backend.library}", raw, "ms", digits=4)
    table.row(f"{name}: a task run", ours, "ms", BOUND_MS.get(name), digits=4)
    table.row(f"{name}:   log lines at INFO add", info - ours, "ms", digits=4)
    if name != "sequential":
        table.row(f"{name}:   task run / {backend.library}", ours / raw, "x", BOUND_RATIO.get(name))


def weigh(name: str, backend: Backend, table: Table) -> None:
    """Add the rows about the bytes of a call."""
    raw, ours = payload.SENT[name](backend, noop, noop_task)
    table.row(f"{name}: pickled for {backend.library}", raw.pickled, "B", digits=0)
    table.row(f"{name}: pickled for a task run", ours.pickled, "B", BOUND_BYTES, digits=0)
    ways = ((raw.to_scheduler, ours.to_scheduler, "scheduler"), (raw.to_worker, ours.to_worker, "workers"))
    for of_raw, of_ours, where in ways:
        if of_raw is not None and of_ours is not None:
            table.row(f"{name}:   sent to {where}, {backend.library}", of_raw, "B", digits=0)
            table.row(f"{name}:   sent to {where}, a task run", of_ours, "B", BOUND_BYTES, digits=0)


def beside_prefect(names: list[str], quick: bool, table: Table) -> None:
    """Add the rows of Prefect, which runs in a process of its own: it changes logging, and starts a server."""
    for name in names:
        command = [sys.executable, "-m", "tests.bench.prefect_overhead", name, "--tasks", "20" if quick else "200"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            table.text(f"{name}: Prefect", (done.stderr.strip().splitlines() or ["failed"])[-1][:60])
            continue
        for what, (value, unit) in json.loads(done.stdout.splitlines()[-1]).items():
            table.row(f"{name}: Prefect: {what}", value, unit)


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__, tasks=10_000)
    names = backends.chosen(chosen.only)
    table = Table(f"{chosen.tasks} no-op tasks, {chosen.repeats} rounds")
    for name in names:
        with backends.ALL[name]() as backend:
            measure(name, backend, chosen.tasks, chosen.repeats, table)
            if name in payload.SENT:
                weigh(name, backend, table)
    if find_spec("prefect"):
        beside_prefect([name for name in names if name != "sequential"], chosen.quick, table)
    table.finish()


if __name__ == "__main__":
    main()
