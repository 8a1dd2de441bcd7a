"""A driver's memory per task, and how deep tasks can depend on each other: ``python -m tests.bench.memory``.

Each figure comes from a new process that is only the driver. A Dask cluster belongs to this process. Memory
varies by a few per cent between runs, so that each figure is measured once.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flowcluster import flow, task
from flowcluster.task_runners import DaskTaskRunner, TaskRunner
from tests.bench import backends
from tests.bench.common import Table, logging_at, options

BOUND_FORGOTTEN_KB = 2.0
BOUND_MAP_MB = 300
CHAIN, RECURSION = 1_000, 33

#: Tasks in flight while memory per finished task is measured.
BATCH = 1_000


def noop(number: int) -> int:
    """Do nothing."""
    return number


def plus_one(number: int) -> int:
    """Compute one link of a chain."""
    return number + 1


noop_task, plus_one_task = task(noop), task(plus_one)


@task
def depth(levels: int) -> int:
    """Submit itself until no level is left, and return the number of levels below."""
    below: int = depth.submit(levels - 1).result() if levels else -1
    return below + 1


def memory(field: str = "VmRSS") -> float:
    """Return the kilobytes of this process: resident now, or with ``VmHWM`` the peak since the last `forget_peak`."""
    with open("/proc/self/status") as status:
        return float(next(line.split()[1] for line in status if line.startswith(field)))


def forget_peak() -> None:
    """Reset the peak."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def forgotten(runner: TaskRunner, count: int) -> float:
    """Return the kilobytes by which the driver grows with each finished task whose future is released."""

    def some(number: int) -> None:
        for _ in range(number // BATCH):
            for future in [noop_task.submit(item) for item in range(BATCH)]:
                future.wait()
        gc.collect()

    @flow(task_runner=runner)
    def body() -> float:
        some(max(BATCH, count // 5))
        before = memory()
        some(count)
        return (memory() - before) / count

    return body()


def peak(work: Callable[[], Any]) -> float:
    """Return the megabytes by which the driver grows at most while `work` runs."""
    gc.collect()
    forget_peak()
    base = memory()
    work()
    return (memory("VmHWM") - base) / 1024


def mapped(runner: TaskRunner, count: int) -> float:
    """Return the peak in megabytes of a map over `count` items whose futures and results are all held."""

    def work() -> None:
        futures = noop_task.map(range(count))
        assert [future.result() for future in futures] == list(range(count))

    @flow(task_runner=runner)
    def body() -> float:
        noop_task.submit(0).result()
        return peak(work)

    return body()


def chain(runner: TaskRunner, count: int) -> float:
    """Return the result of a chain in which every task needs the one before."""

    @flow(task_runner=runner)
    def body() -> int:
        future = plus_one_task.submit(0)
        for _ in range(count - 1):
            future = plus_one_task.submit(future)
        return future.result()

    return body()


def recursion(runner: TaskRunner, count: int) -> float:
    """Return the depth that a task reached that submits itself and waits."""

    @flow(task_runner=runner)
    def body() -> int:
        return depth.submit(count).result()

    return body()


def raw_concurrent(address: str, count: int) -> float:
    """Measure a map with the standard library's threads."""
    with ThreadPoolExecutor() as pool:
        pool.submit(noop, 0).result()
        return peak(lambda: [future.result() for future in [pool.submit(noop, item) for item in range(count)]])


def raw_dask(address: str, count: int) -> float:
    """Measure a map with Dask's own client."""
    import distributed

    def work(client: Any) -> None:
        futures = client.map(noop, range(count), pure=False)
        client.gather(futures)

    with distributed.Client(address, set_as_default=False) as client:
        client.submit(noop, 0).result()
        return peak(lambda: work(client))


def raw_ray(address: str, count: int) -> float:
    """Measure a map with only Ray."""
    import ray

    remote: Any = ray.remote(noop)
    ray.get(remote.remote(0))

    def work() -> None:
        references = [remote.remote(item) for item in range(count)]
        ray.get(references)

    return peak(work)


OURS = {"forgotten": forgotten, "map": mapped, "chain": chain, "recursion": recursion}
RAW = {"concurrent": raw_concurrent, "dask": raw_dask, "ray": raw_ray}


def as_child(what: str, name: str, address: str, count: int) -> None:
    """Measure one figure in this process, and print it."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(logging_at(logging.ERROR))
        if name == "dask":
            runner: TaskRunner = DaskTaskRunner(address=address)
        else:
            runner = stack.enter_context(backends.ALL[name]()).runner
        found = RAW[name](address, count) if what == "raw map" else OURS[what](runner, count)
    print(json.dumps(found))


def in_child(what: str, name: str, address: str, count: int, seconds: float | None = None) -> float | str:
    """Return one figure from a new process, or why there is none."""
    sys.stderr.write(f"  {name}: {what} of {count}\n")
    command = [sys.executable, "-m", "tests.bench.memory", "--child", what, name, address, str(count)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"no end within {seconds:g} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:70]
    return float(json.loads(done.stdout.splitlines()[-1]))


def measure(name: str, address: str, count: int, table: Table) -> None:
    """Add the rows of one task runner."""

    def row(title: str, what: str, unit: str, bound: float | None, digits: int) -> None:
        found = in_child(what, name, address, count)
        if isinstance(found, str):
            table.text(title, found, False)
        else:
            table.row(title, found, unit, bound, digits)

    if name != "sequential":
        row(f"{name}: a finished task, released", "forgotten", "kB", BOUND_FORGOTTEN_KB, 2)
        row(f"{name}: map over {count} items, peak", "map", "MB", BOUND_MAP_MB, 0)
        row(f"{name}:   a map with only the library", "raw map", "MB", None, 0)
    for title, what, levels in ((f"chain of {CHAIN}", "chain", CHAIN), ("recursive submit", "recursion", RECURSION)):
        found = in_child(what, name, address, levels, 120)
        table.text(f"{name}: {title}", found if isinstance(found, str) else f"{found:.0f} deep", found == levels)


def main() -> None:
    """Measure and print, or be the driver whose memory is measured."""
    if sys.argv[1:2] == ["--child"]:
        parser = argparse.ArgumentParser()
        for argument, kind in (("what", str), ("name", str), ("address", str), ("count", int)):
            parser.add_argument(argument, type=kind)
        as_child(**vars(parser.parse_args(sys.argv[2:])))
        return
    chosen = options(__doc__, tasks=100_000, repeats=1)
    table = Table("Driver memory and depth")
    for name in backends.chosen(chosen.only):
        with contextlib.ExitStack() as stack:
            address = "none"
            if name == "dask":
                runner = stack.enter_context(backends.dask()).runner
                assert isinstance(runner, DaskTaskRunner)
                address = str(runner.address)
            measure(name, address, chosen.tasks, table)
    table.finish()


if __name__ == "__main__":
    main()
