"""The limit of task runs in flight: those that a flow run has passed to its runner, and that have not ended.

A cluster keeps several kilobytes for each run. Beyond the limit, submitted runs wait in the flow's process, where each
takes little more memory than its name. They start in the order of submission.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class InFlightLimit:
    """Starts runs while fewer than `limit` are in flight. Any thread can use it.

    Args:
        limit: maximum number of runs in flight; None without a limit.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._inside = 0
        self._queue: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        #: Ids of the threads that start waiting runs. Not a `threading.local`: until Python 3.12, a garbage collection
        #: that deletes one can block `sys._current_frames`, which profilers call, forever.
        self._starting: set[int] = set()

    def enter(self, start: Callable[[], None]) -> None:
        """Call `start`, which must not raise: immediately, or in a later call of `leave` or `resize`."""
        with self._lock:
            if self._queue or self._is_full():
                self._queue.append(start)
                return
            self._inside += 1
        start()

    def leave(self) -> None:
        """Record that a run has ended, and start the next one that waits."""
        with self._lock:
            self._inside -= 1
            if not self._queue:
                return
        self._start_waiting()

    def resize(self, limit: int | None) -> None:
        """Change the limit. Runs that are in flight stay in flight with a smaller limit."""
        with self._lock:
            self._limit = limit
        self._start_waiting()

    def _is_full(self) -> bool:
        return self._limit is not None and self._inside >= self._limit

    def _start_waiting(self) -> None:
        # A run that ends while it is started calls this method again. Without the mark, a long queue of such runs would
        # be one recursion for each run.
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
