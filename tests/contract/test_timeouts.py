"""Time limits of tasks and flows, on every task runner."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowcluster import flow, task
from flowcluster.errors import RunTimedOut
from flowcluster.task_runners import ConcurrentTaskRunner, SequentialTaskRunner, TaskRunner
from tests.support.tasks import echo


def never_return() -> None:
    """Execute Python instructions for ever: a thread can be ended only between two of them."""
    never = threading.Event()
    while not never.wait(0.01):
        pass


@task(timeout_seconds=0.2)
def run_on() -> None:
    never_return()


@task(timeout_seconds=0.2)
def wait_long(path: str, wait: Any) -> str:
    wait(path)
    return "opened"


@task(timeout_seconds=0.1)
async def hang() -> None:
    await asyncio.Event().wait()


@task(timeout_seconds=0.01)
async def block_loop() -> str:
    end = time.monotonic() + 0.05
    while time.monotonic() < end:
        pass
    return "too late"


@task(timeout_seconds=600)
def quick() -> str:
    return "in time"


@task(timeout_seconds=600)
def raises_timeout_error() -> None:
    raise TimeoutError("of the user's own")


def run(runner: TaskRunner, function: Callable[[], Any], **options: Any) -> Any:
    return flow(task_runner=runner, **options)(function)()


def test_sync_task_times_out(runner: TaskRunner, gate: Any, wait: Any) -> None:
    """A function that blocks ends as TimedOut. Its downstream runs never start, and the other runs complete."""

    def body() -> Any:
        late = wait_long.submit(gate.address, wait)
        dependent, other = echo.submit(late), echo.submit("other")
        states = [future.wait() for future in (late, dependent, other)]
        gate.open()
        return [(state.name, state.type.value) for state in states], states[0].exception()

    states, error = run(runner, body)
    assert states == [("TimedOut", "FAILED"), ("NotReady", "PENDING"), ("Completed", "COMPLETED")]
    assert isinstance(error, RunTimedOut)
    assert isinstance(error, TimeoutError)
    assert "took longer than its limit of 0.2 seconds" in str(error)


def test_blocked_task_times_out_under_a_debugger() -> None:
    """A debugger, or coverage, traces all threads. Those that continue must not wait for the one that blocks."""
    program = Path(__file__).with_name("flows") / "traced.py"
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "TimedOut\n"


def test_async_task_times_out(runner: TaskRunner) -> None:
    """A coroutine is cancelled at its time limit."""

    def body() -> Any:
        late: Any = hang.submit()  # in a sync flow, it is not an `AsyncTaskFuture`
        return late.wait().name, echo.submit(late).wait().name

    assert run(runner, body) == ("TimedOut", "NotReady")


def test_task_within_its_limit_completes(runner: TaskRunner) -> None:
    """A limit does not affect a task within it, and a TimeoutError of the user's code is a plain failure."""

    def body() -> Any:
        return quick.submit().result(), raises_timeout_error.submit().wait().name

    assert run(runner, body) == ("in time", "Failed")


def test_direct_calls_time_out() -> None:
    """Direct calls of sync and async tasks have a time limit without a runner."""

    def body() -> Any:
        with pytest.raises(RunTimedOut):
            hang()  # type: ignore[unused-coroutine]  # blocks in a sync flow
        assert quick() == "in time"
        return "done"

    assert run(SequentialTaskRunner(), body) == "done"


def test_timed_out_run_is_tried_again(runner: TaskRunner) -> None:
    """A timed-out run is retried as a failed one is."""

    def body() -> Any:
        return run_on.with_options(retries=1).submit().wait().name

    assert run(runner, body) == "TimedOut"


def test_sync_flow_times_out(gate: Any, wait: Any) -> None:
    """The flow ends as TimedOut although its function blocks, and its submitted tasks are cancelled."""
    futures = []

    def body() -> None:
        futures.append(task(wait).submit(gate.address))
        never_return()

    state = flow(timeout_seconds=0.3, task_runner=ConcurrentTaskRunner())(body)(return_state=True)
    gate.open()

    assert (state.name, state.type.value) == ("TimedOut", "FAILED")
    assert futures[0].state.is_cancelled()


def test_async_flow_times_out() -> None:
    """The flow's coroutine is cancelled at its time limit."""

    @flow(timeout_seconds=0.1)
    async def body() -> None:
        await asyncio.Event().wait()

    started = time.monotonic()
    with pytest.raises(RunTimedOut):
        asyncio.run(body())
    assert time.monotonic() - started < 60


def test_timeout_of_a_task_is_a_failure_of_its_flow() -> None:
    """A flow that raises the exception of its task is Failed, as its own time limit was not reached."""

    @flow(timeout_seconds=600)
    def body() -> None:
        hang.submit().result()  # type: ignore[unused-coroutine]  # blocks in a sync flow

    assert body(return_state=True).name == "Failed"


def test_async_task_that_blocks_its_loop_is_timed_out(runner: TaskRunner) -> None:
    states: list[Any] = []

    def body() -> str:
        future: Any = block_loop.submit()
        states.append(future.wait())
        return "over"

    assert run(runner, body) == "over"
    assert (states[0].name, type(states[0].data)) == ("TimedOut", RunTimedOut)
