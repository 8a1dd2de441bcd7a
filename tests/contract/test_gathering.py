"""Many futures at a time, callbacks and cancellation, on every task runner."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from flowcluster import flow, task
from flowcluster.errors import CancelledRun, UpstreamFailed
from flowcluster.futures import FutureList, as_completed, wait
from flowcluster.task_runners import TaskRunner
from tests.support.tasks import echo


@task
def fail() -> None:
    raise ValueError("boom")


def run(runner: TaskRunner, function: Callable[[], Any], **options: Any) -> Any:
    return flow(task_runner=runner, **options)(function)()


def test_as_completed_gives_futures_in_the_order_of_their_ends(
    parallel_runner: TaskRunner, gate: Any, wait: Any
) -> None:
    """A run that waits comes last, although it was submitted first."""
    held = task(wait)

    def body() -> Any:
        first = held.submit(gate.address)
        second = echo.submit("quick")
        order = []
        for future in as_completed([first, second]):
            order.append(future is second)
            if future is second:
                gate.open()
        return order

    assert run(parallel_runner, body) == [True, False]


def test_gathering_stops_at_its_time_limit(parallel_runner: TaskRunner, gate: Any, wait: Any) -> None:
    """Runs that ended in time are returned. The error names or counts the others."""
    held = task(wait)

    def body() -> None:
        futures = [held.submit(gate.address), echo.submit(1)]
        futures[1].wait()
        done, not_done = wait_for_all(futures, timeout=0)
        assert (done, not_done) == ([futures[1]], [futures[0]])
        ended = as_completed(futures, timeout=0.05)
        with pytest.raises(TimeoutError, match=r"1 of 2 task runs did not end within 0\.05 seconds"):
            assert list(ended) == []
        gate.open()
        assert wait_for_all(futures).not_done == []

    run(parallel_runner, body)


wait_for_all = wait


def test_negative_timeouts_are_refused() -> None:
    """The error names the value."""
    with pytest.raises(ValueError, match="timeout must be at least 0 seconds, not -1"):
        wait([], timeout=-1)
    with pytest.raises(ValueError, match="timeout must be at least 0 seconds, not -1"):
        as_completed([], timeout=-1)


def test_results_of_a_map(runner: TaskRunner) -> None:
    """Results have the order of the futures, with duplicates. The first failure is raised, or an item of the list."""

    def body() -> Any:
        futures = echo.map([3, 1, 2])
        assert isinstance(futures, FutureList)
        assert futures.result() == [3, 1, 2]
        mixed = FutureList([*futures, fail.submit()])
        with pytest.raises(ValueError, match="boom"):
            mixed.result()
        assert len(mixed.wait().done) == 4
        return [str(value) for value in mixed.result(raise_on_failure=False)]

    assert run(runner, body) == ["3", "1", "2", "boom"]


def test_empty_map_is_an_empty_list(runner: TaskRunner) -> None:
    """A map over nothing submits nothing, and raises no error."""

    def body() -> Any:
        futures = echo.map([])
        return futures.result(), list(as_completed(futures))

    assert run(runner, body) == ([], [])


def test_async_flow_gathers_as_runs_end() -> None:
    """`async for` goes over futures of sync and async tasks."""

    @task
    async def echo_async(value: Any) -> Any:
        return value

    @flow
    async def body() -> Any:
        futures = [echo.submit(1), echo_async.submit(2)]
        return sorted([future.state.result() async for future in as_completed(futures)])

    assert asyncio.run(body()) == [1, 2]


def test_callback_gets_the_future_once(runner: TaskRunner) -> None:
    """Each callback is called once, also when the run has ended before. An exception in it is only logged."""
    seen: list[Any] = []

    def body() -> None:
        future = echo.submit(1)
        future.add_done_callback(lambda done: 1 / 0)
        future.add_done_callback(lambda done: seen.append(done.state.name))
        future.wait()
        future.add_done_callback(lambda done: seen.append(done is future))

    run(runner, body)
    assert seen == ["Completed", True]


def test_cancelled_run_ends_immediately(parallel_runner: TaskRunner, gate: Any, wait: Any) -> None:
    """Its state and exception are Cancelled, downstream runs never start, and the flow's message has the count."""
    held = task(wait)
    seen = []

    def body() -> None:
        future = held.submit(gate.address)
        dependent = echo.submit(future)
        assert future.cancel()
        assert not future.cancel()
        assert future.state.is_cancelled()
        with pytest.raises(CancelledRun):
            future.result()
        with pytest.raises(UpstreamFailed):
            dependent.result()
        seen.append(future.done())
        gate.close()

    state = flow(task_runner=parallel_runner)(body)(return_state=True)
    assert seen == [True]
    assert (state.is_cancelled(), state.message) == (True, "1/2 states cancelled.")


def test_run_that_has_ended_cannot_be_cancelled(runner: TaskRunner) -> None:
    """`cancel` does not change its state."""

    def body() -> Any:
        future = echo.submit(1)
        future.wait()
        return future.cancel(), future.state.name

    assert run(runner, body) == (False, "Completed")


def test_coroutine_is_stopped_when_it_is_cancelled() -> None:
    """A coroutine in the flow's process does not continue."""
    reached: list[str] = []
    started = threading.Event()

    @task
    async def hold() -> None:
        reached.append("started")
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            reached.append("stopped")

    @flow
    def body() -> None:
        future = hold.submit()
        assert started.wait(60)
        future.cancel()

    assert body(return_state=True).is_cancelled()
    assert reached == ["started", "stopped"]
