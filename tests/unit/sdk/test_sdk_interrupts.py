"""The SDK calls hooks and callbacks of interrupted task runs once, in order, before the flow run ends."""

from __future__ import annotations

import _thread
import asyncio
import functools
import threading
from typing import Any

import pytest

from flowcluster import flow, task
from flowcluster.states import StateType
from flowcluster.task_runners import ConcurrentTaskRunner


@task
def hang(release: threading.Event) -> None:
    release.wait(60)


def test_callbacks_of_cancelled_runs_are_called_before_the_flow_run_ends() -> None:
    release, meeting = threading.Event(), threading.Barrier(8)
    called: dict[str, list[Any]] = {}

    def first(future: Any) -> None:
        meeting.wait(60)
        called[future.name] = [future.state.type]

    def note(number: int, future: Any) -> None:
        called[future.name].append(number)

    @flow
    def body() -> None:
        for future in hang.map([release] * 8):
            future.add_done_callback(first)
            for number in range(3):
                future.add_done_callback(functools.partial(note, number))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        body()
    release.set()

    assert list(called.values()) == [[StateType.CANCELLED, 0, 1, 2]] * 8


def test_callbacks_of_cancelled_runs_are_called_before_an_async_flow_run_ends() -> None:
    release, meeting, called = threading.Event(), threading.Barrier(2), []

    def note(future: Any) -> None:
        meeting.wait(60)
        called.append(future.state.type)

    @flow
    async def body() -> None:
        for future in hang.map([release] * 2):
            future.add_done_callback(note)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(body())
    release.set()

    assert called == [StateType.CANCELLED] * 2


def test_hook_ends_before_the_flow_run_when_an_interrupt_calls_it() -> None:
    release, has_begun, is_over = threading.Event(), threading.Event(), threading.Event()
    events: list[str] = []

    def hook(*_: Any) -> None:
        has_begun.set()
        is_over.wait(60)
        events.append("hook")

    @task(on_completion=[hook])
    def hooked() -> None:
        pass

    @flow
    def body() -> None:
        hang.submit(release).add_done_callback(lambda _: is_over.set())
        hooked.submit()
        has_begun.wait(60)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        body()
    release.set()

    assert events == ["hook"]


def test_second_interrupt_ends_the_wait_for_callbacks() -> None:
    release = threading.Event()

    def callback(_: Any) -> None:
        _thread.interrupt_main()
        release.wait(60)

    @flow
    def body() -> None:
        hang.submit(release).add_done_callback(callback)
        raise KeyboardInterrupt("first")

    with pytest.raises(KeyboardInterrupt) as raised:
        body()
    is_waiting = not release.is_set()
    release.set()

    assert is_waiting
    assert str(raised.value) == ""


def raise_interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


class RunnerInterruptedAtItsEnd(ConcurrentTaskRunner):
    def close(self, cancel: bool = False) -> None:
        super().close(cancel)
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "options", [{"on_completion": [raise_interrupt]}, {"task_runner": RunnerInterruptedAtItsEnd()}]
)
def test_run_that_is_interrupted_after_its_end_stays_completed(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "flowcluster")

    @flow(**options)
    def body() -> int:
        return 3

    with pytest.raises(KeyboardInterrupt):
        body()

    assert "Finished in state Completed()" in caplog.text


def test_async_run_that_is_cancelled_in_its_hook_stays_completed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "flowcluster")
    cancels: list[Any] = []

    def cancel(*_: Any) -> None:
        loop, run = cancels
        loop.call_soon_threadsafe(run.cancel)

    @flow(on_completion=[cancel])
    async def body() -> int:
        cancels.extend((asyncio.get_running_loop(), asyncio.current_task()))
        return 3

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(body())

    assert "Finished in state Completed()" in caplog.text
