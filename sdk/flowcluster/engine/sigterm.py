"""SIGTERM during a flow run: like Ctrl-C, it interrupts the run, and the run closes what it opened."""

from __future__ import annotations

import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from flowcluster._util import platforms
from flowcluster.errors import Terminated

#: Functions that are called when the signal arrives, before the run is interrupted.
on_sigterm: list[Callable[[], None]] = []


class Termination:
    """Whether the signal arrived while a flow ran on an event loop."""

    received = False


class _Handled:
    """The outermost flow runs on one event loop.

    Attributes:
        cancels: for each of them, the function that interrupts it.
        before: the signal's handler before the first of them.
    """

    def __init__(self, before: Any) -> None:
        self.cancels: list[Callable[[], None]] = []
        self.before = before

    def cancel_all(self) -> None:
        """Handle the signal: interrupt all runs."""
        _announce()
        for cancel in list(self.cancels):
            cancel()


_on_loops: weakref.WeakKeyDictionary[Any, _Handled] = weakref.WeakKeyDictionary()


@contextmanager
def sigterm_interrupts(on_loop: bool) -> Iterator[Termination]:
    """Let SIGTERM interrupt the flow run in the block, unless the application handles the signal.

    The signal interrupts all flow runs on one event loop.

    Args:
        on_loop: whether the flow runs on an event loop. Then the running coroutine is cancelled, and the `Termination`
            is marked. Otherwise `Terminated` is raised in the main thread.
    """
    termination = Termination()
    # Only the main thread can set handlers.
    if threading.current_thread() is not threading.main_thread():
        yield termination
    elif on_loop:
        with _cancelled_by_sigterm(termination):
            yield termination
    elif signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, terminate):
        yield termination  # the application chose that handler
    else:
        before = signal.signal(signal.SIGTERM, terminate)
        try:
            yield termination
        finally:
            if signal.getsignal(signal.SIGTERM) != before:
                signal.signal(signal.SIGTERM, before)


@contextmanager
def _cancelled_by_sigterm(termination: Termination) -> Iterator[None]:
    import asyncio

    loop, flow = asyncio.get_running_loop(), asyncio.current_task()
    assert flow is not None

    def cancel() -> None:
        if not termination.received:
            termination.received = True
            flow.cancel()

    handled = _on_loops.get(loop)
    if handled is None:
        handled = _Handled(signal.getsignal(signal.SIGTERM))
        if handled.before not in (signal.SIG_DFL, terminate):
            yield
            return
        platforms.call_on_signal(loop, signal.SIGTERM, handled.cancel_all)
        _on_loops[loop] = handled
    handled.cancels.append(cancel)
    try:
        yield
    finally:
        handled.cancels.remove(cancel)
        if not handled.cancels:
            del _on_loops[loop]
            platforms.call_no_more(loop, signal.SIGTERM, handled.before)


def terminate(number: int, frame: FrameType | None) -> None:
    """Handle the signal: raise `Terminated`. Further signals are ignored while the run closes."""
    signal.signal(number, signal.SIG_IGN)
    _announce()
    raise Terminated


def _announce() -> None:
    for callback in on_sigterm:
        callback()
