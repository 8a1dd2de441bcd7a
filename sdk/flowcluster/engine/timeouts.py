"""Calls of functions with a time limit.

A thread cannot be stopped from outside. So a function with a time limit gets a thread of its own. When the time is
over, the caller continues immediately, and an exception ends the function at its next step in Python.
"""

from __future__ import annotations

import contextvars
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from flowcluster._util.waiting import current_slot, occupying_slot
from flowcluster.engine.run_spec import RunSpec
from flowcluster.errors import RunTimedOut

T = TypeVar("T")


class Stopped(Exception):
    """Holds a StopIteration of a sync function, which Python would turn into a RuntimeError in a coroutine."""

    def __init__(self, error: StopIteration) -> None:
        super().__init__(error)
        self.error = error


class Abandoned(BaseException):
    """Ends a function whose caller does not wait any more."""


async def call_with_limit(spec: RunSpec, run_name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the function of a task or flow, and return what it returns. Suspends only for a coroutine function.

    Raises:
        RunTimedOut: it took longer than the limit of the spec; it names the run `run_name`.
        Stopped: the function raised StopIteration.
        BaseException: whatever else the function raises.
    """
    if spec.is_async:
        coroutine = spec.function(*args, **kwargs)
        return await (await_within(spec.timeout, run_name, coroutine) if spec.timeout else coroutine)
    try:
        if spec.timeout:
            return call_within(spec.timeout, run_name, lambda: spec.function(*args, **kwargs))
        return spec.function(*args, **kwargs)
    except StopIteration as error:
        raise Stopped(error) from None


def call_within(seconds: float, run_name: str, function: Callable[[], T]) -> T:
    """Call `function` in a thread, and return what it returns. Raises `RunTimedOut` after `seconds`."""
    work = _Call(function)
    work.thread.start()
    try:
        in_time = work.ended.wait(seconds)
    except BaseException:
        work.abandon()
        raise
    if not in_time:
        work.abandon()
        raise _late(seconds, run_name)
    if work.raised is not None:
        raise work.raised
    return work.value


class _Call(Generic[T]):
    """A call in a thread of its own."""

    value: T

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._slot = current_slot()
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._is_over = False
        self.ended = threading.Event()
        self.raised: BaseException | None = None
        self.thread = threading.Thread(target=self._main, name="flowcluster-limited", daemon=True)

    def _main(self) -> None:
        try:
            self._context.run(self._work)
        except Abandoned:
            pass  # the function had just ended

    def _work(self) -> None:
        try:
            with occupying_slot(self._slot):
                self.value = self._function()
        except BaseException as error:
            self.raised = error
        finally:
            with self._lock:
                self._is_over = True
            self.ended.set()

    def abandon(self) -> None:
        """End the function with an exception, at its next step in Python.

        Under a debugger or coverage on Python 3.11, let the function continue. There, while a blocked thread has not
        received the exception, every other traced thread repeats the first step of the next function that it calls. So
        the driver would hang until the call returns.
        """
        if sys.version_info < (3, 12) and (sys.gettrace() or threading.gettrace()):
            return
        import ctypes

        with self._lock:
            # Not after the end of the thread: another thread can then have its identity.
            if not self._is_over and self.thread.ident is not None:
                thread = ctypes.c_ulong(self.thread.ident)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(Abandoned))


async def await_within(seconds: float, run_name: str, awaitable: Awaitable[T]) -> T:
    """Return the result of `awaitable`, which is cancelled after `seconds`.

    Raises:
        RunTimedOut: it took longer, also if it blocked the loop and was not cancelled.
        BaseException: whatever else it raises.
    """
    import asyncio

    end = time.monotonic() + seconds
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            value = await awaitable
    except TimeoutError as error:
        if limit.expired():
            raise _late(seconds, run_name) from error
        raise
    if time.monotonic() > end:
        raise _late(seconds, run_name)
    return value


def _late(seconds: float, run_name: str) -> RunTimedOut:
    return RunTimedOut(f"Run '{run_name}' took longer than its limit of {seconds:g} seconds.", run_name)
