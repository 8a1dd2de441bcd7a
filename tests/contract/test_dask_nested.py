"""Tasks on Dask workers that submit child runs: these run on the cluster, and do not deadlock."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from typing import Any

import distributed
import pytest

from flowcluster import flow, get_run_logger, task
from flowcluster.task_runners import DaskTaskRunner

pytestmark = pytest.mark.xdist_group("dask nested")  # they share a cluster


@pytest.fixture(scope="module")
def single() -> Iterator[str]:
    """Address of a cluster with one worker of one thread."""
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


def test_deep_recursion_on_one_thread(single: str) -> None:
    """A task that waits for a child run lends it its thread, 33 levels deep."""

    @task
    def down(depth: int) -> int:
        return down.submit(depth - 1).result() + 1 if depth else 0

    @flow(task_runner=DaskTaskRunner(address=single))
    def body() -> Any:
        return down.submit(33)

    assert body() == 33


def test_deep_recursion_of_coroutines_on_one_thread(single: str) -> None:
    """A task that awaits a child run lends it its thread as well."""

    @task
    async def down(depth: int) -> int:
        return await down.submit(depth - 1).result() + 1 if depth else 0

    @flow(task_runner=DaskTaskRunner(address=single))
    async def body() -> Any:
        return await down.submit(33).result()

    assert asyncio.run(body()) == 33


def test_fan_out_on_one_thread(single: str) -> None:
    """Many tasks with several child runs each end one after the other: all child runs of one before the next starts."""

    @task
    def leaf(number: int) -> int:
        return number

    @task
    def branch(number: int) -> int:
        return sum(future.result() for future in leaf.map(range(number)))

    @flow(task_runner=DaskTaskRunner(address=single))
    def body() -> Any:
        return branch.map([5] * 20)

    assert body() == [10] * 20


def test_results_of_nested_runs_pass_from_one_to_the_next(single: str) -> None:
    """Child runs use each other's results, large and small, and a task returns the future of one."""

    @task
    def make(size: int) -> bytes:
        return b"x" * size

    @task
    def size(value: bytes) -> int:
        return len(value)

    @task
    def outer() -> Any:
        return [size.submit(make.submit(10)), size.submit(make.submit(1_000_000)), make.submit(100_000)]

    @flow(task_runner=DaskTaskRunner(address=single))
    def body() -> Any:
        return outer.submit()

    assert body() == [10, 1_000_000, b"x" * 100_000]


def test_nested_runs_end_on_a_cluster_of_threads() -> None:
    """A worker that is a thread of the flow's process executes child runs too."""
    kwargs = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}

    @task
    def down(depth: int) -> int:
        return down.submit(depth - 1).result() + 1 if depth else 0

    @flow(task_runner=DaskTaskRunner(cluster_kwargs=kwargs))
    def body() -> Any:
        return down.submit(5)

    assert body() == 5


def test_lines_of_nested_runs_reach_the_driver(single: str, lines: Any) -> None:
    """The flow's process logs each line of a child run on a worker once."""

    @task
    def inner() -> None:
        get_run_logger().info("from %s", "inside")

    @task
    def outer() -> None:
        inner.submit().result()

    @flow(task_runner=DaskTaskRunner(address=single))
    def body() -> None:
        outer.submit()

    body()

    assert [line for line in lines() if "from inside" in line] != []
    assert len([line for line in lines() if "from inside" in line]) == 1


def test_exception_of_a_nested_run_reaches_the_flow_through_its_task(single: str) -> None:
    """A task that fetches the result of a failed child run fails with its exception."""

    @task
    def fail() -> None:
        raise ValueError("deep down")

    @task
    def outer() -> int:
        fail.submit().result()
        return os.getpid()

    @flow(task_runner=DaskTaskRunner(address=single))
    def body() -> Any:
        return outer.submit()

    with pytest.raises(ValueError, match="deep down"):
        body()


@pytest.mark.parametrize("opens_client", ["the SDK", "the user"])
def test_first_nested_runs_wait_for_the_workers_client_when_they_begin_together(
    opens_client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask returns a client that is not connected yet to the second thread that requests one."""
    connect = distributed.Client._ensure_connected
    # Set by a task that does not wait for the connection.
    has_submitted = threading.Event()

    async def connect_late(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.id.startswith("Client-worker-"):
            await asyncio.to_thread(has_submitted.wait, 0.5)
        await connect(self, *args, **kwargs)

    @task
    def leaf() -> int:
        return 1

    @task
    def branch(is_first: bool) -> int:
        worker = distributed.get_worker()
        worker.both.wait(30)
        if is_first and opens_client == "the user":
            distributed.get_client()
        future = leaf.submit()
        worker.has_submitted.set()
        return int(future.result())

    @flow
    def body() -> Any:
        return [branch.submit(True), branch.submit(False)]

    monkeypatch.setattr(distributed.Client, "_ensure_connected", connect_late)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
    ) as cluster:
        cluster.workers[0].both, cluster.workers[0].has_submitted = threading.Barrier(2), has_submitted
        on_cluster = body.with_options(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
        assert on_cluster() == [1, 1]
