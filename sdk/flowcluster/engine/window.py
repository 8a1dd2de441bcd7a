"""How many task runs a flow run has handed to its runner and not got back yet.

A cluster keeps several kilobytes for each run that it knows of. Above the limit, submitted runs wait
in the flow's process, where each is little more than its name, and go on in the order of submission.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class Window:
    """Lets at most `limit` runs in at a time, any number with None; the others follow as places become free.

    For any thread.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._inside = 0
        self._queue: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        #: Threads that start what waits, by their ids. Not a `threading.local`: until Python 3.12, the end of one in a
        #: garbage collection can block `sys._current_frames`, which profilers call, forever.
        self._starting: set[int] = set()

    def enter(self, start: Callable[[], None]) -> None:
        """Call `start`, which must not raise, once there is a place; the caller of `leave` may have to do it."""
        with self._lock:
            if self._queue or self._is_full():
                self._queue.append(start)
                return
            self._inside += 1
        start()

    def leave(self) -> None:
        """Give a place back."""
        with self._lock:
            self._inside -= 1
            if not self._queue:
                return
        self._start_waiting()

    def resize(self, limit: int | None) -> None:
        """Let another number in from now on. With a smaller one, those that are in stay."""
        with self._lock:
            self._limit = limit
        self._start_waiting()

    def _is_full(self) -> bool:
        return self._limit is not None and self._inside >= self._limit

    def _start_waiting(self) -> None:
        # A run that ends while it is started comes here again. Without the mark, a long queue of such
        # runs would be one recursion per run.
        thread = threading.get_ident()
        if thread in self._starting:
            return
        self._starting.add(thread)
        try:
            while (start := self._next()) is not None:
                start()
        finally:
            self._starting.discard(thread)

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            if not self._queue or self._is_full():
                return None
            self._inside += 1
            return self._queue.popleft()
