"""The one place where a test waits: for a condition, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from flowcluster.futures import TaskFuture
from flowcluster.states import State

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, seconds: float = 60, every: float = 0.05) -> T:
    """The first truthy answer of `condition`. Fails after `seconds`, saying what did not come true."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s still not true: {what}; last answer: {answer!r}")
        time.sleep(every)


def end_of(future: TaskFuture[T], seconds: float = 60) -> State[T]:
    """Return the final state of a task run. Fails if the run does not end within `seconds`."""
    state = future.wait(seconds)
    assert state is not None, f"after {seconds:g} s task run '{future.name}' has not ended: {future.state}"
    return state
