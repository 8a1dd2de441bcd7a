"""A cache for the code of tasks on a worker. Code can be large: it contains the values that a function captured."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

#: Maximum bytes of code that a worker keeps. The newest entry stays, however large it is.
LIMIT = 64 * 2**20

#: Maximum entries that a worker keeps, however small they are.
MOST = 128

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class CodeCache(Generic[K, V]):
    """A cache that removes the least recently used entries first. Any thread can use it.

    Args:
        make: returns the value for a key. The cache does not keep its exceptions.
        size: returns the size in bytes of an entry, from its key and value.
    """

    def __init__(self, make: Callable[[K], V], size: Callable[[K, V], int]) -> None:
        self._make = make
        self._size = size
        self._lock = threading.Lock()
        self._kept: dict[K, tuple[V, int]] = {}
        self._total = 0

    def __call__(self, key: K) -> V:
        """Return the value for a key. Make it if the cache does not have it."""
        with self._lock:
            found = self._kept.pop(key, None)
            if found is not None:
                self._kept[key] = found  # the newest is the last
                return found[0]
        value = self._make(key)
        with self._lock:
            found = self._kept.setdefault(key, (value, self._size(key, value)))
            if found[0] is value:
                self._total += found[1]
                self._drop_old()
        return found[0]

    def _drop_old(self) -> None:
        while len(self._kept) > 1 and (self._total > LIMIT or len(self._kept) > MOST):
            self._total -= self._kept.pop(next(iter(self._kept)))[1]

    def clear(self) -> None:
        """Remove all entries."""
        with self._lock:
            self._kept.clear()
            self._total = 0
