"""Handles for task runs that were submitted to a task runner."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Any, Generic, Literal, Protocol, Self, TypeVar, overload

from flowcluster import guarding, states
from flowcluster.gathering import DoneAndNotDone, as_completed, wait
from flowcluster.states import State
from flowcluster.waiting import wait_async, wait_blocking

__all__ = [
    "AsyncTaskFuture",
    "DoneAndNotDone",
    "Future",
    "FutureList",
    "RunFuture",
    "TaskFuture",
    "as_completed",
    "wait",
]

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)
F = TypeVar("F", bound="RunFuture[Any]")

# One lock for all futures: it is held for a few instructions only, and a lock each would cost more.
# Garbage collection can call code of users, which may come here again, in any thread that holds it.
_lock = threading.RLock()
_logger = logging.getLogger("flowcluster.futures")
_settling = threading.local()


class Owner(Protocol):
    """What a future asks for the end of its run."""

    def cancel(self, future: Any) -> bool:
        """End the run as cancelled; False if it has already ended."""


class RunFuture(Generic[R_co]):
    """What all handles share. Made by ``.submit``, never by users.

    Attributes:
        name: name of the task run.
        handle: what the runner gave back for the run, if it can wait for such a thing by itself.
        is_settled: whether the run's state is its last one.
        is_firm: whether the handle will not be replaced by another one, as a retry does.
        owner: what runs it, and can give it up.
    """

    __slots__ = (
        "__weakref__",
        "_callbacks",
        "_listeners",
        "_state",
        "handle",
        "is_firm",
        "is_settled",
        "name",
        "owner",
    )

    def __init__(self, name: str, owner: Owner | None = None) -> None:
        self.name = name
        self.owner = owner
        self.handle: Any = None
        self.is_firm = True
        self.is_settled = False
        self._state: State[Any] = _PENDING
        self._callbacks: list[Callable[[], None]] | None = None
        self._listeners: deque[tuple[contextvars.Context, Callable[[Any], object]]] | None = None

    @property
    def state(self) -> State[R_co]:
        """How the run stands now."""
        return self._state

    def done(self) -> bool:
        """Whether the run has ended, or will never start."""
        return self.is_settled

    def cancel(self) -> bool:
        """End the run as cancelled; False if it has already ended.

        What has not started never will, and what waits for the run neither. A coroutine, or a task on
        a cluster that can do so, is stopped; a function in a thread cannot be, and goes on unheeded.
        """
        return self.owner is not None and self.owner.cancel(self)

    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
        """Call `callback` with this future once the run has ended, at once if it has already.

        The callbacks of a future are called one after the other, in a thread that no run depends on. What a
        callback raises is logged.
        """
        with _lock:
            # After the end, too, while those that came before are being called.
            if not self.is_settled or self._listeners is not None:
                if self._listeners is None:
                    self._listeners = deque()
                self._listeners.append((contextvars.copy_context(), callback))
                return
        self._call(callback)

    def _call(self, callback: Callable[[Any], object]) -> None:
        try:
            callback(self)
        except BaseException as error:
            if guarding.is_interrupt(error):
                raise
            guarding.quietly(_logger.error, "A callback of task run '%s' raised:", self.name, exc_info=error)

    @property
    def has_listeners(self) -> bool:
        """For the engine: whether callbacks of the user wait to be called."""
        return self._listeners is not None

    def notify(self) -> None:
        """For the engine: call the callbacks of the user; the run has ended."""
        while True:
            with _lock:
                if not self._listeners:
                    self._listeners = None
                    return
                context, callback = self._listeners.popleft()
            context.run(self._call, callback)

    def when_done(self, callback: Callable[[], None]) -> None:
        """For the engine: call `callback`, which must not raise, once the run has ended; from any thread."""
        with _lock:
            if not self.is_settled:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(callback)
                return
        callback()

    def started(self) -> None:
        """For the engine: the run's function is being executed."""
        self.pass_through(_RUNNING)

    def pass_through(self, state: State) -> None:
        """For the engine: the run is in a state that is not its last."""
        with _lock:
            if not self.is_settled:
                self._state = state

    def settle(self, state: State) -> bool:
        """For the engine: the run ends in `state`. False if it has already ended otherwise."""
        with _lock:
            if self.is_settled:
                return False
            self._state = state
            self.is_settled = True
            callbacks, self._callbacks = self._callbacks, None
        if callbacks:
            _call_all(callbacks)
        if self.owner is None:
            self.notify()
        return True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self._state}>"


_PENDING = states.pending()
_RUNNING = states.running()


def _call_all(callbacks: list[Callable[[], None]]) -> None:
    # A callback may settle the next future of a chain. Without the queue a long chain of failures
    # would be one recursion per task.
    queue: deque[Callable[[], None]] | None = getattr(_settling, "queue", None)
    if queue is not None:
        queue.extend(callbacks)
        return
    queue = _settling.queue = deque(callbacks)
    try:
        while queue:
            try:
                queue.popleft()()
            except BaseException as error:
                if guarding.is_interrupt(error):
                    raise
                guarding.quietly(_logger.error, "The end of a task run could not be passed on:", exc_info=error)
    finally:
        _settling.queue = None


class TaskFuture(RunFuture[R_co]):
    """The handle of a submitted task run; its methods block.

    In an async flow, ``await task.submit(...)`` gives this handle as well.
    """

    __slots__ = ()

    @overload
    def wait(self, timeout: None = None) -> State[R_co]: ...
    @overload
    def wait(self, timeout: float | None) -> State[R_co] | None: ...
    def wait(self, timeout: float | None = None) -> State[R_co] | None:
        """Wait for the end of the run: its final state, or None if it takes longer than `timeout` seconds."""
        if self.is_settled or wait_blocking(self.when_done, timeout):
            return self._state
        return None

    @overload
    def result(self, timeout: float | None = None, raise_on_failure: Literal[True] = True) -> R_co: ...
    @overload
    def result(self, timeout: float | None, raise_on_failure: bool) -> R_co | BaseException: ...
    @overload
    def result(self, timeout: float | None = None, *, raise_on_failure: bool) -> R_co | BaseException: ...
    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> R_co | BaseException:
        """Wait for the run and give what its function returned.

        Raises the run's exception when it did not complete, or returns it if `raise_on_failure` is
        false. Raises TimeoutError when it takes longer than `timeout` seconds.
        """
        state = self.wait(timeout)
        if state is None:
            raise _timeout(self.name, timeout)
        return state.result(raise_on_failure)

    def get_state(self) -> State[R_co]:
        """How the run stands now."""
        return self._state

    def __await__(self) -> Generator[Any, None, Self]:
        yield from ()
        return self


#: The name for annotations: ``def report(total: Future[int])``.
Future = TaskFuture


class AsyncTaskFuture(RunFuture[R_co]):
    """The handle of an async task that an async flow submitted; its methods are awaited."""

    __slots__ = ()

    @overload
    async def wait(self, timeout: None = None) -> State[R_co]: ...  # noqa: ASYNC109 - as in `TaskFuture`
    @overload
    async def wait(self, timeout: float | None) -> State[R_co] | None: ...  # noqa: ASYNC109 - as in `TaskFuture`
    async def wait(self, timeout: float | None = None) -> State[R_co] | None:  # noqa: ASYNC109 - as in `TaskFuture`
        """Wait for the end of the run: its final state, or None if it takes longer than `timeout` seconds."""
        if self.is_settled or await wait_async(self.when_done, timeout):
            return self._state
        return None

    @overload
    async def result(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - as in `TaskFuture`
        raise_on_failure: Literal[True] = True,
    ) -> R_co: ...
    @overload
    async def result(
        self,
        timeout: float | None,  # noqa: ASYNC109 - as in `TaskFuture`
        raise_on_failure: bool,
    ) -> R_co | BaseException: ...
    @overload
    async def result(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - as in `TaskFuture`
        *,
        raise_on_failure: bool,
    ) -> R_co | BaseException: ...
    async def result(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - as in `TaskFuture`
        raise_on_failure: bool = True,
    ) -> R_co | BaseException:
        """Wait for the run and give what its function returned; raises as `TaskFuture.result` does."""
        state = await self.wait(timeout)
        if state is None:
            raise _timeout(self.name, timeout)
        if isinstance(state.data, states.Remote):
            import asyncio

            return await asyncio.to_thread(state.result, raise_on_failure)
        return state.result(raise_on_failure)

    async def get_state(self) -> State[R_co]:
        """How the run stands now."""
        return self._state

    def __await__(self) -> Generator[Any, None, Self]:
        yield from ()
        return self


class FutureList(list[F], Generic[F]):
    """The futures of a ``.map``, in the order of its items.

    In an async flow, ``await task.map(...)`` gives this list as well.
    """

    def wait(self, timeout: float | None = None) -> DoneAndNotDone[F]:
        """Wait for all of them, as `wait` does."""
        return wait(self, timeout)

    @overload
    def result(
        self: Iterable[RunFuture[T]], timeout: float | None = None, raise_on_failure: Literal[True] = True
    ) -> list[T]: ...
    @overload
    def result(
        self: Iterable[RunFuture[T]], timeout: float | None, raise_on_failure: bool
    ) -> list[T | BaseException]: ...
    @overload
    def result(
        self: Iterable[RunFuture[T]], timeout: float | None = None, *, raise_on_failure: bool
    ) -> list[T | BaseException]: ...
    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> list[Any]:
        """What the runs returned, in order.

        Raises the exception of the first run to end that did not complete, without waiting for the
        others; with `raise_on_failure` false, exceptions take their places in the list. Raises
        TimeoutError when that takes longer than `timeout` seconds in all.
        """
        for future in as_completed(self, timeout):
            if raise_on_failure and not future.state.is_completed():
                raise future.state.exception()
        return [future.state.result(raise_on_failure) for future in self]

    def __await__(self) -> Generator[Any, None, Self]:
        yield from ()
        return self


def _timeout(name: str, timeout: float | None) -> TimeoutError:
    return TimeoutError(f"Task run '{name}' did not end within {timeout} seconds.")
