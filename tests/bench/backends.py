"""The task runners that are measured, each with the library that it uses, on the same cluster."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any, NamedTuple

from flowcluster.task_runners import (
    ConcurrentTaskRunner,
    DaskTaskRunner,
    RayTaskRunner,
    SequentialTaskRunner,
    TaskRunner,
)

Function = Callable[[int], object]


class Backend(NamedTuple):
    """A task runner, ready for flows, and the library that it uses.

    Attributes:
        runner: for the flow.
        library: name of the library.
        raw: calls a function that many times with only the library, and returns the seconds that this takes.
        cluster: the cluster that both use, if it belongs to this process.
    """

    runner: TaskRunner
    library: str
    raw: Callable[[Function, int], float]
    cluster: Any = None


@contextlib.contextmanager
def sequential() -> Iterator[Backend]:
    """Compare with plain calls."""

    def raw(function: Function, count: int) -> float:
        started = time.perf_counter()
        for number in range(count):
            function(number)
        return time.perf_counter() - started

    yield Backend(SequentialTaskRunner(), "plain calls", raw)


@contextlib.contextmanager
def concurrent() -> Iterator[Backend]:
    """Compare with the standard library's threads."""

    def raw(function: Function, count: int) -> float:
        with ThreadPoolExecutor() as pool:
            started = time.perf_counter()
            futures = [pool.submit(function, number) for number in range(count)]
            for future in futures:
                future.result()
            return time.perf_counter() - started

    yield Backend(ConcurrentTaskRunner(), "ThreadPoolExecutor", raw)


@contextlib.contextmanager
def dask() -> Iterator[Backend]:
    """Use two processes with one thread each. Each measurement has a client of its own, as each flow run has."""
    import distributed

    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:

        def raw(function: Function, count: int) -> float:
            with distributed.Client(cluster, set_as_default=False) as client:
                started = time.perf_counter()
                futures = [client.submit(function, number, pure=False) for number in range(count)]
                client.gather(futures)
                return time.perf_counter() - started

        yield Backend(DaskTaskRunner(address=cluster.scheduler_address), "client.submit", raw, cluster)


@contextlib.contextmanager
def ray() -> Iterator[Backend]:
    """Use two CPUs, in a Ray that is started before the flow and that both use."""
    import ray as library

    library.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")

    def raw(function: Function, count: int) -> float:
        remote: Any = library.remote(function)
        started = time.perf_counter()
        library.get([remote.remote(number) for number in range(count)])
        return time.perf_counter() - started

    try:
        yield Backend(RayTaskRunner(), "ray.remote", raw)
    finally:
        library.shutdown()


ALL = {"sequential": sequential, "concurrent": concurrent, "dask": dask, "ray": ray}


def chosen(only: str) -> list[str]:
    """Return the names of the task runners that can be used here, limited to those in `only` if it names any."""
    there = {"sequential": True, "concurrent": True}
    there["dask"] = find_spec("distributed") is not None
    there["ray"] = find_spec("ray") is not None
    return [name for name in ALL if there[name] and (not only or name in only.split(","))]
