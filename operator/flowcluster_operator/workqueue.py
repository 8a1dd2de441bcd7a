"""The work queue: a level-triggered queue of keys, with timers.

A key is in the queue at most once, and at most one pass over it runs at a time. A key that is added during its pass is
due again when that pass ends, so that no wake-up is lost.
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

K = TypeVar("K")


class Queue(Generic[K]):
    """A queue of one event loop. It is not thread-safe."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: set[K] = set()
        self._active: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}

    def add(self, key: K) -> None:
        """Make `key` due now."""
        if key in self._active:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_later(self, key: K, seconds: float) -> None:
        """Requeue `key` after `seconds`; a later call replaces an earlier one."""
        self.cancel_timer(key)
        if seconds <= 0:
            self.add(key)
            return
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._fire, key)

    def cancel_timer(self, key: K) -> None:
        """Cancel the requeue of `add_later`."""
        if timer := self._timers.pop(key, None):
            timer.cancel()

    async def take(self) -> K:
        """Return the next key that is due. The caller must call `done` for it."""
        key = await self._ready.get()
        self._waiting.discard(key)
        self._active.add(key)
        return key

    def done(self, key: K) -> None:
        """Record that the pass over `key` ended."""
        self._active.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _fire(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)
