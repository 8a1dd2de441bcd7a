"""Calls of users' code about runs: hooks, conditions and callbacks, in threads that no run depends on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from flowcluster.runners.threads import ThreadPool

#: Maximum number of threads for the calls of one flow run, and seconds after which an idle thread ends.
_THREADS, _LINGER = 64, 0.1


class UserCalls:
    """The calls of one flow run.

    The thread that reports the end of a task run does not execute them, because all other runs need that thread.
    """

    def __init__(self) -> None:
        # Garbage collection can call code of users, which can lead here again, in any thread that holds the lock.
        self._lock: Any = threading.RLock()
        self._pool: ThreadPool | None = None
        self._running = 0
        self._waiting: list[Callable[[], None]] = []

    def submit(self, function: Callable[[], None]) -> None:
        """Call `function`, which must not raise, in another thread; in this thread if the system can start no other."""
        with self._lock:
            self._running += 1
            pool = self._pool = self._pool or ThreadPool(_THREADS, linger=_LINGER)

        def call() -> None:
            try:
                function()
            finally:
                self._call_ended()

        try:
            pool.submit(call)
        except RuntimeError:
            call()

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Call back once no call is running, immediately if none is."""
        with self._lock:
            if self._running:
                self._waiting.append(callback)
                return
        callback()

    def _call_ended(self) -> None:
        with self._lock:
            self._running -= 1
            waiting = [] if self._running else self._waiting
            if waiting:
                self._waiting = []
        for callback in waiting:
            callback()
