"""Waiting for many futures: `wait` and `as_completed`."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from flowcluster._util.waiting import wait_async, wait_blocking, when_all
from flowcluster.states import State


class _Waitable(Protocol):
    """What this module uses of a future."""

    is_settled: bool

    @property
    def state(self) -> State:
        """The state of its run."""

    def when_done(self, callback: Callable[[], None]) -> None:
        """Call back when the run has ended."""


F = TypeVar("F", bound=_Waitable)


class DoneAndNotDone(NamedTuple, Generic[F]):
    """Futures whose runs have ended, and the others; both in the order in which they were given."""

    done: list[F]
    not_done: list[F]


def wait(futures: Iterable[F], timeout: float | None = None) -> DoneAndNotDone[F]:
    """Wait until all runs have ended, or `timeout` seconds have passed. Return which have ended.

    Raises:
        ValueError: the timeout is negative.
    """
    futures = list(futures)
    _check(timeout)
    waiting = [future.when_done for future in futures if not future.is_settled]
    if waiting:
        wait_blocking(lambda callback: when_all(waiting, callback), timeout)
    done = [future for future in futures if future.is_settled]
    ended = set(done)
    return DoneAndNotDone(done, [future for future in futures if future not in ended])


class as_completed(Generic[F]):
    """The futures in the order in which their runs end, for ``for`` and for ``async for``.

    Args:
        futures: the futures.
        timeout: seconds to wait for all of them; None without a limit.

    Raises:
        TimeoutError: not all runs ended in time; the message has the number of the others.
        ValueError: the timeout is negative.
    """

    def __init__(self, futures: Iterable[F], timeout: float | None = None) -> None:
        _check(timeout)
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._timeout = timeout
        self._ended: deque[F] = deque()
        self._lock = threading.Lock()
        self._listener: list[Any] = []
        each = list(dict.fromkeys(futures))
        self._total = self._left = len(each)
        for future in each:
            future.when_done(lambda future=future: self._arrived(future))  # type: ignore[misc]

    def _arrived(self, future: F) -> None:
        with self._lock:
            self._ended.append(future)
            listener, self._listener = self._listener, []
        for callback in listener:
            callback()

    def _register(self, callback: Any) -> None:
        with self._lock:
            if not self._ended:
                self._listener.append(callback)
                return
        callback()

    def _next(self) -> F:
        self._left -= 1
        return self._ended.popleft()

    def _seconds_left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _late(self) -> TimeoutError:
        return TimeoutError(f"{self._left} of {self._total} task runs did not end within {self._timeout} seconds.")

    def __iter__(self) -> Iterator[F]:
        while self._left:
            if not self._ended and not wait_blocking(self._register, self._seconds_left()):
                raise self._late()
            yield self._next()

    async def __aiter__(self) -> AsyncIterator[F]:
        while self._left:
            if not self._ended and not await wait_async(self._register, self._seconds_left()):
                raise self._late()
            yield self._next()


def _check(timeout: float | None) -> None:
    if timeout is not None and timeout < 0:
        raise ValueError(f"timeout must be at least 0 seconds, not {timeout}.")
