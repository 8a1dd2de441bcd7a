"""The base of all futures: the run's state, its end, and the callbacks that are called then."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, Self, TypeVar

from flowcluster import states
from flowcluster._util import guarding
from flowcluster.states import State

R_co = TypeVar("R_co", covariant=True)

# One lock for all futures: it is held for a few instructions only, and one lock for each future would cost more.
# Garbage collection can call code of users, which can lead here again, in any thread that holds it.
_lock = threading.RLock()
_logger = logging.getLogger("flowcluster.futures")
_settling = threading.local()


class Owner(Protocol):
    """What a future uses to cancel its run."""

    def cancel(self, future: Any) -> bool:
        """End the run as cancelled. Return False if it has already ended."""


class RunFuture(Generic[R_co]):
    """The base of all futures. ``.submit`` makes them.

    Attributes:
        name: name of the task run.
        handle: the runner's handle of the run; None if the runner cannot wait for runs itself.
        is_settled: whether the run's state is final.
        is_firm: whether the handle stays the same. A retry replaces it.
        owner: cancels the run.
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
        """The current state of the run."""
        return self._state

    def done(self) -> bool:
        """Return whether the run has ended, or will never start."""
        return self.is_settled

    def cancel(self) -> bool:
        """End the run as cancelled. Return False if it has already ended.

        A run that has not started never starts, and neither do runs that wait for it. A coroutine is stopped, and so is
        a task on a cluster that can stop it. A function in a thread cannot be stopped: its result is ignored.
        """
        return self.owner is not None and self.owner.cancel(self)

    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
        """Call `callback` with this future when the run has ended, immediately if it has already.

        The callbacks of a future are called one after the other, in a thread that no run depends on. An exception of a
        callback is logged.
        """
        with _lock:
            # After the end, too, while earlier callbacks are being called.
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
        """Whether callbacks of the user wait for their call. For the engine."""
        return self._listeners is not None

    def notify(self) -> None:
        """Call the callbacks of the user, after the end of the run. For the engine."""
        while True:
            with _lock:
                if not self._listeners:
                    self._listeners = None
                    return
                context, callback = self._listeners.popleft()
            context.run(self._call, callback)

    def when_done(self, callback: Callable[[], None]) -> None:
        """Call `callback`, which must not raise, in any thread when the run has ended. For the engine."""
        with _lock:
            if not self.is_settled:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(callback)
                return
        callback()

    def started(self) -> None:
        """Record that the run's function is being executed. For the engine."""
        self.update_state(_RUNNING)

    def update_state(self, state: State) -> None:
        """Set a state that is not final. For the engine."""
        with _lock:
            if not self.is_settled:
                self._state = state

    def settle(self, state: State) -> bool:
        """End the run in `state`. Return False if it has already ended. For the engine."""
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
    # A callback can end the next run of a chain. Without the queue, a long chain of failures would be one recursion for
    # each task.
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
                guarding.quietly(_logger.error, "A callback for the end of a task run failed:", exc_info=error)
    finally:
        _settling.queue = None
