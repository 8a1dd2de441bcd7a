"""The one place where a test waits: for a condition, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from flowcluster.futures import TaskFuture
from flowcluster.states import State

T = TypeVar("T")
_FIRST_PAUSE, _GROWTH, _LONGEST_PAUSE = 0.03, 1.2, 0.3


def wait_until(condition: Callable[[], T], what: str, seconds: float = 60, every: float | None = None) -> T:
    """Wait until `condition` returns something truthy, and return that.

    Args:
        condition: What is looked at again and again.
        what: What comes true, for the failure's message.
        seconds: How long at most.
        every: Seconds between two looks; by default from 0.03, growing to 0.3: what comes soon is seen soon, and a
            long wait keeps no CPU busy.

    Raises:
        AssertionError: it has not come true; the message has the last answer.
    """
    deadline = time.monotonic() + seconds
    pause = every or _FIRST_PAUSE
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s still not true: {what}; last answer: {answer!r}")
        time.sleep(pause)
        pause = every or min(pause * _GROWTH, _LONGEST_PAUSE)


def end_of(future: TaskFuture[T], seconds: float = 60) -> State[T]:
    """Return the final state of a task run. Fails if the run does not end within `seconds`."""
    state = future.wait(seconds)
    assert state is not None, f"after {seconds:g} s task run '{future.name}' has not ended: {future.state}"
    return state
