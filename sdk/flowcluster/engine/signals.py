"""SIGTERM during a flow run: it breaks the run off as Ctrl-C does, so that the run closes what it opened."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from flowcluster.errors import Terminated

#: Called when the signal arrives, before the run is broken off.
on_sigterm: list[Callable[[], None]] = []


class Termination:
    """Whether the signal arrived while a flow ran on an event loop."""

    received = False


@contextmanager
def sigterm_interrupts(on_loop: bool) -> Iterator[Termination]:
    """Let SIGTERM break off the flow run that the block contains, unless the application handles it already.

    With `on_loop` the running coroutine is cancelled and the `Termination` marked, else `Terminated` is
    raised in the main thread.
    """
    termination = Termination()
    before = signal.getsignal(signal.SIGTERM)
    # Only the main thread may set handlers, and only one that nobody chose may be replaced.
    if threading.current_thread() is not threading.main_thread() or before not in (signal.SIG_DFL, terminate):
        yield termination
        return
    if on_loop:
        import asyncio

        loop, flow = asyncio.get_running_loop(), asyncio.current_task()
        assert flow is not None

        def cancel() -> None:
            if not termination.received:
                termination.received = True
                _announce()
                flow.cancel()

        loop.add_signal_handler(signal.SIGTERM, cancel)
    else:
        signal.signal(signal.SIGTERM, terminate)
    try:
        yield termination
    finally:
        if on_loop:
            loop.remove_signal_handler(signal.SIGTERM)
        if signal.getsignal(signal.SIGTERM) != before:
            signal.signal(signal.SIGTERM, before)


def terminate(number: int, frame: FrameType | None) -> None:
    """Signal handler: raise `Terminated`, once; what follows while the run closes is ignored."""
    signal.signal(number, signal.SIG_IGN)
    _announce()
    raise Terminated


def _announce() -> None:
    for callback in on_sigterm:
        callback()
