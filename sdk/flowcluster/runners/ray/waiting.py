"""How a task on a Ray worker waits for others that it submitted, without keeping its CPU from them.

Ray takes the CPU back only from a worker whose main thread waits for an object. So that is how it waits.
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
        """Return references to at most `limit` objects that appear when one of its runs ends."""


#: The sessions that this process has open.
sessions: weakref.WeakSet[ExpectingSession] = weakref.WeakSet()

#: Objects that are waited for at a time, and seconds after which others are looked for.
_OBJECTS, _INTERVAL = 256, 0.5


@contextmanager
def place() -> Iterator[Callable[[threading.Event, float | None], bool] | None]:
    """Gives the way to wait where Ray lends a CPU to this process: in a worker's main thread."""
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
            # What it was is for the session's thread to find out, which sets the event.
            event.wait(0.002)
        else:
            event.wait(left)
    return True
