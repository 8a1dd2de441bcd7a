"""Handles of task runs, and waiting for them."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flowcluster import flow, states, task
from flowcluster._util.waiting import drive, wait_async, wait_blocking, when_all
from flowcluster.futures import AsyncTaskFuture, TaskFuture
from flowcluster.states import StateType


def test_future_keeps_its_first_final_state() -> None:
    """A second end of the run changes nothing."""
    future: TaskFuture[int] = TaskFuture("x-0")

    assert future.settle(states.completed(1))
    assert not future.settle(states.failed("late"))
    future.started()
    assert future.result() == 1


def test_callbacks_are_called_once() -> None:
    """Before or after the end, each callback is called exactly once."""
    calls: list[str] = []
    future: TaskFuture[int] = TaskFuture("x-0")
    future.add_done_callback(lambda _: calls.append("before"))
    future.settle(states.completed(1))
    future.add_done_callback(lambda _: calls.append("after"))

    assert calls == ["before", "after"]


def test_chain_of_callbacks_does_not_recurse() -> None:
    """The callback of each future ends the next one. The depth of the stack does not limit the number of futures."""
    futures: list[TaskFuture[int]] = [TaskFuture(f"x-{number}") for number in range(5000)]
    for one, following in itertools.pairwise(futures):

        def settle(future: TaskFuture[int] = following) -> None:
            future.settle(states.completed(1))

        one.when_done(settle)
    futures[0].settle(states.completed(1))

    assert all(future.done() for future in futures)


def test_future_shows_its_state() -> None:
    """The text of a future names the run and its state."""
    future: TaskFuture[int] = TaskFuture("x-0")
    future.started()

    assert repr(future) == "<TaskFuture 'x-0' Running()>"


def test_timeout_names_the_run() -> None:
    """A sync and an async wait both raise TimeoutError with the run's name."""
    sync_future: TaskFuture[int] = TaskFuture("x-0")
    async_future: AsyncTaskFuture[int] = AsyncTaskFuture("y-0")

    with pytest.raises(TimeoutError, match="x-0"):
        sync_future.result(timeout=0)
    with pytest.raises(TimeoutError, match="y-0"):
        asyncio.run(async_future.result(timeout=0))
    assert asyncio.run(async_future.wait(timeout=0)) is None


def test_timeout_error_of_the_task_is_raised_unchanged() -> None:
    error = TimeoutError("mine")
    future: TaskFuture[int] = TaskFuture("x-0")
    future.settle(states.failed("why", error))

    with pytest.raises(TimeoutError) as caught:
        future.result(timeout=0)
    assert caught.value is error


def test_awaiting_a_future_returns_the_future() -> None:
    """`await task.submit()` returns the same as `task.submit()`."""

    async def main() -> Any:
        return await AsyncTaskFuture("x-0")

    assert asyncio.run(main()).name == "x-0"


def test_wait_ends_when_another_thread_ends_the_future() -> None:
    """A callback in any thread wakes up the waiting thread or event loop."""
    released: list[threading.Thread] = []

    def register(callback: Any) -> None:
        thread = threading.Thread(target=callback)
        thread.start()
        released.append(thread)

    assert wait_blocking(register, 60)
    assert asyncio.run(wait_async(register, 60))
    for thread in released:
        thread.join()


def test_when_all_waits_for_the_last() -> None:
    """The callback is called once, after the last future. Without futures, it is called immediately."""
    callbacks: list[Any] = []
    calls: list[int] = []
    when_all([callbacks.append, callbacks.append], lambda: calls.append(1))
    callbacks[0]()

    assert calls == []
    callbacks[1]()
    assert calls == [1]
    when_all([], lambda: calls.append(2))
    assert calls == [1, 2]


def test_driving_a_coroutine_that_suspends_is_refused() -> None:
    """Sync code can drive only coroutines that never wait for an event loop."""

    async def suspends() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="suspended"):
        drive(suspends())


def test_async_flow_needs_no_thread_of_the_loops_executor() -> None:
    """Code of the user can keep all of them busy, for instance in functions that wait for the flow."""
    release = threading.Event()

    @task(retries=1, retry_condition=lambda *_: False)
    async def fail() -> None:
        raise ValueError("no")

    @flow(on_completion=[lambda *_: release.set()])
    async def body() -> Any:
        return [type(await fail.submit().result(raise_on_failure=False)), (await fail(return_state=True)).type]

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        kept = loop.run_in_executor(None, release.wait, 30)
        result = await body()
        return result, await kept

    assert asyncio.run(main()) == ([ValueError, StateType.FAILED], True)


@pytest.mark.processes
def test_async_flow_runs_in_a_thread_while_the_main_thread_ends() -> None:
    program = """
import asyncio, threading
from flowcluster import flow, task

main_thread = threading.main_thread()

@task
async def double(number):
    return 2 * number

@flow
async def body():
    return await double.submit(2).result()

def run():
    main_thread.join(60)
    print(main_thread.is_alive(), asyncio.run(body()))

threading.Thread(target=run).start()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert done.stdout == "False 4\n", done.stderr
