"""Direct calls of tasks inside tasks, on every task runner."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flowcluster import flow, task
from flowcluster.errors import UpstreamFailed
from flowcluster.task_runners import TaskRunner
from tests.support.tasks import echo


@task
def fail() -> None:
    raise ValueError("boom")


@task
def stop() -> Any:
    return next(iter(()))


@task
async def echo_later(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


# Type checkers assume that no sync code calls an async task.
echo_now: Any = echo_later


@task
async def submits(value: Any) -> Any:
    return await echo_later.submit(value).result()


@task
def calls() -> Any:
    """Return the values of direct calls that take futures, wait for others and return states."""
    upstream, broken = echo.submit([1]), fail.submit()
    seen: list[Any] = [
        echo([upstream, 2]),
        echo(upstream, return_state=True).name,
        echo(3, wait_for=[upstream]),
        echo(3, wait_for=broken, return_state=True).name,
        fail(return_state=True).name,
        type(stop(return_state=True).data).__name__,
        echo_now(upstream),
        echo_now(4, return_state=True).name,
        submits(5),
    ]
    with pytest.raises(UpstreamFailed):
        echo(broken)
    with pytest.raises(ValueError, match="boom"):
        fail()
    broken.state.data = None  # it counts as observed
    return seen


@task
async def calls_later() -> Any:
    upstream = echo_later.submit([1])
    return [await echo_later(upstream), (await echo_later(2, wait_for=[upstream], return_state=True)).name, echo(3)]


def test_call_in_a_task_waits_for_futures_and_returns_states(runner: TaskRunner) -> None:
    @flow(task_runner=runner)
    def body() -> Any:
        return calls.submit().wait().result()

    assert body() == [[[1], 2], "Completed", 3, "NotReady", "Failed", "StopIteration", [1], "Completed", 5]


def test_call_in_an_async_task_is_awaited(runner: TaskRunner) -> None:
    @flow(task_runner=runner)
    def body() -> Any:
        future: Any = calls_later.submit()
        return future.result()

    assert body() == [[1], "Completed", 3]


def test_call_outside_of_a_run_takes_futures_and_returns_states() -> None:
    @flow
    def body() -> Any:
        future = echo.submit(1)
        future.wait()
        futures.append(future)

    futures: list[Any] = []
    body()

    assert echo([futures[0]]) == [1]
    assert echo(2, wait_for=futures, return_state=True).result() == 2
    assert asyncio.run(echo_now(futures[0])) == 1
