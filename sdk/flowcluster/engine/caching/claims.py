"""Claims on results that are being computed, so that runs with the same key at the same time compute one result.

A claim holds within a process. Between processes that share a folder of results, a locked file holds it. The system
unlocks the file when the process ends. Other storages have no locks: processes that share one can each compute a
result.
"""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable

from flowcluster._util import platforms

#: The keys whose results the current code computes. It must not wait for its own claims.
held: contextvars.ContextVar[frozenset[str]] = contextvars.ContextVar("flowcluster_claims", default=frozenset())

_claims: dict[str, ResultClaim] = {}
_lock = threading.Lock()


class ResultClaim:
    """The computation of one result in this process.

    Attributes:
        was_completed: whether it returned a result.
    """

    def __init__(self, name: str) -> None:
        self.was_completed = False
        self._name = name
        self._callbacks: list[Callable[[], None]] = []
        self._is_over = False

    def when_over(self, callback: Callable[[], None]) -> None:
        """Call back when the computation has ended, immediately if it has."""
        with _lock:
            if not self._is_over:
                self._callbacks.append(callback)
                return
        callback()

    def release(self) -> None:
        """End the computation."""
        with _lock:
            _claims.pop(self._name, None)
            self._is_over = True
        for callback in self._callbacks:
            callback()


def take(name: str) -> tuple[ResultClaim, bool]:
    """Return the claim on a result, and whether it is new. The caller must release a new one."""
    with _lock:
        if name in _claims:
            return _claims[name], False
        claim = _claims[name] = ResultClaim(name)
        return claim, True


class FileLock:
    """A lock on a file, between processes. Where the system has no such locks, it locks nothing and raises no error."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._is_wanted = True
        self._lock = threading.Lock()

    def try_to_lock(self) -> bool:
        """Lock the file if no other process has locked it. Return False if one has."""
        try:
            return self._locked(wait=False)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def when_locked(self, callback: Callable[[], None]) -> None:
        """Wait for the lock in a thread, then call back."""

        def work() -> None:
            try:
                self._locked(wait=True)
            except OSError:
                pass
            callback()

        threading.Thread(target=work, name="flowcluster-cache", daemon=True).start()

    def _locked(self, wait: bool) -> bool:
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                platforms.lock_file(descriptor, wait)
                if _is_file_of(self._path, descriptor):  # else its holder has deleted it meanwhile
                    with self._lock:
                        if self._is_wanted:
                            self._descriptor, descriptor = descriptor, -1
                    return True
            finally:
                if descriptor >= 0:
                    os.close(descriptor)

    def unlock(self) -> None:
        """Unlock and delete the file. A thread that still waits for the lock releases it."""
        with self._lock:
            self._is_wanted = False
            descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            platforms.delete_locked_file(self._path, descriptor)


def _is_file_of(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False
