"""Waiting of tests: for a condition, with a deadline."""

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
        condition: What is checked repeatedly.
        what: Description of the condition, for the message of a failure.
        seconds: Deadline (s).
        every: Time between two checks (s). By default it grows from 0.03 to 0.3: an early change is seen early, and a
            long wait uses little CPU.

    Raises:
        AssertionError: the condition is not true at the deadline. The message has the last answer.
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
