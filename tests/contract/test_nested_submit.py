"""Tasks that submit tasks, on every task runner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from flowcluster import flow, get_run_logger, task
from flowcluster.task_runners import ConcurrentTaskRunner, TaskRunner
from tests.support.tasks import echo


@task
def fail() -> None:
    raise ValueError("boom")


@task
def double_all(values: list[int]) -> Any:
    return [echo.submit(2 * value) for value in values]


@task
def total(values: list[int]) -> int:
    return sum(future.result() for future in echo.map(values))


@task
def depth(levels: int) -> int:
    if levels == 0:
        return 0
    return 1 + int(depth.submit(levels - 1).result())


@task
def leaves(levels: int) -> int:
    if levels == 0:
        return 1
    return sum(future.result() for future in leaves.map([levels - 1] * 2))


@task
def forgets_its_failure() -> None:
    fail.submit()


@task
def logs_below() -> Any:
    get_run_logger().info("above")
    return say.submit()


@task
def say() -> None:
    get_run_logger().info("below")


@task
async def double_all_async(values: list[int]) -> Any:
    futures = [echo_async.submit(2 * value) for value in values]
    return [await future.result() for future in futures]


@task
async def echo_async(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


def run(runner: TaskRunner, function: Callable[[], Any]) -> Any:
    return flow(task_runner=runner)(function)()


def test_task_returns_what_it_submitted(runner: TaskRunner) -> None:
    """Futures in a task's return value are replaced by their results, as in that of a flow."""
    assert run(runner, lambda: double_all.submit([1, 2, 3])) == [2, 4, 6]


def test_task_waits_for_what_it_submitted(runner: TaskRunner) -> None:
    """A task can read the results of its child runs on every runner."""
    assert run(runner, lambda: (total.submit([1, 2, 3]).result(), total([4, 5]))) == (6, 9)


def test_async_task_submits(runner: TaskRunner) -> None:
    """An async task awaits the results of the runs that it submits."""
    assert run(runner, lambda: double_all_async.submit([1, 2])) == [2, 4]


def test_deep_recursion_ends(runner: TaskRunner) -> None:
    """More tasks than threads, each waiting for its child run, end: a task that waits releases its thread."""
    # Every cluster here has four threads or CPUs. On Ray, each task that waits keeps a process.
    assert run(runner, lambda: depth.submit(9)) == 9


def test_recursion_ends_in_a_small_pool() -> None:
    """Two threads are enough for a tree of waiting tasks."""
    assert run(ConcurrentTaskRunner(max_workers=2), lambda: (depth.submit(33), leaves.submit(5))) == (33, 32)


def test_failed_nested_run_fails_a_task_that_returns_nothing(runner: TaskRunner) -> None:
    """The final state of a task that returns nothing includes its child runs, as that of a flow includes its tasks."""

    def body() -> Any:
        state = forgets_its_failure.submit().wait()
        return state.name, state.message, str(state.exception())

    assert run(runner, body) == ("Failed", "1/1 states failed.", "boom")


def test_names_of_nested_runs_are_unique(runner: TaskRunner, lines: Any) -> None:
    """Log lines of child runs reach the driver's log under names that no other run has."""
    run(runner, lambda: [logs_below.submit(), logs_below.submit()])

    below = [line.split("'")[1] for line in lines() if line.endswith(" - below")]
    assert len(set(below)) == 2
    assert all(name.startswith("say-") for name in below)


def test_submit_outside_of_a_run_is_refused() -> None:
    """Only flows and their tasks have a task runner."""
    with pytest.raises(RuntimeError, match="works only in a flow"):
        echo.submit(1)
