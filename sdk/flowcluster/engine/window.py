"""How many task runs a flow run has handed to its runner and not got back yet.

A cluster keeps several kilobytes for each run that it knows of. Above the limit, submitted runs wait
in the flow's process, where each is little more than its name, and go on in the order of submission.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class Window:
    """Lets at most `limit` runs in at a time; the others follow as places become free. For any thread."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._queue: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._thread = threading.local()

    def enter(self, start: Callable[[], None]) -> None:
        """Call `start`, which must not raise, once there is a place; the caller of `leave` may have to do it."""
        with self._lock:
            if not self._free or self._queue:
                self._queue.append(start)
                return
            self._free -= 1
        start()

    def leave(self) -> None:
        """Give a place back."""
        with self._lock:
            self._free += 1
            if not self._queue:
                return
        # A run that ends while it is started comes here again. Without the mark, a long queue of such
        # runs would be one recursion per run.
        if getattr(self._thread, "is_starting", False):
            return
        self._thread.is_starting = True
        try:
            while (start := self._next()) is not None:
                start()
        finally:
            self._thread.is_starting = False

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            if not self._free or not self._queue:
                return None
            self._free -= 1
            return self._queue.popleft()
