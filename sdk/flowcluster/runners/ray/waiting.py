"""Wait in a task on a Ray worker for runs that it submitted, so that they can use its CPU meanwhile.

Ray lends the CPU of a worker only while the worker's main thread waits for an object. So a task waits for objects.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class ExpectingSession(Protocol):
    """A session that has submitted task runs."""

    def expected(self, limit: int) -> list[Any]:
        """Return references to at most `limit` objects. Ray creates one of them when one of its runs ends."""


#: The open sessions of this process.
sessions: weakref.WeakSet[ExpectingSession] = weakref.WeakSet()

#: Number of objects for which a call of ``ray.wait`` waits, and seconds after which the next call can wait for others.
_OBJECTS, _INTERVAL = 256, 0.5


@contextmanager
def place() -> Iterator[Callable[[threading.Event, float | None], bool] | None]:
    """Yield the function that waits for objects, in a worker's main thread; None in other threads."""
    yield _wait if threading.current_thread() is threading.main_thread() else None


def _wait(event: threading.Event, timeout: float | None) -> bool:
    import ray

    end = None if timeout is None else time.monotonic() + timeout
    while not event.is_set():
        left = _INTERVAL if end is None else min(_INTERVAL, end - time.monotonic())
        if left <= 0:
            return False
        objects = [object for session in sessions for object in session.expected(_OBJECTS)]
        if objects:
            ray.wait(objects, num_returns=1, timeout=left, fetch_local=False)
            # The session's thread handles the end of that run, and sets the event.
            event.wait(0.002)
        else:
            event.wait(left)
    return True
