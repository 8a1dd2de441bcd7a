"""Guards around calls of users' code, after which the engine must continue whatever that code raises."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from flowcluster.errors import Terminated


def is_interrupt(error: BaseException) -> bool:
    """Return whether a signal raised `error` in this thread, so that the caller must get it.

    Signals raise exceptions only in the main thread.
    """
    return isinstance(error, KeyboardInterrupt | Terminated) and threading.current_thread() is threading.main_thread()


def text_of(thing: object, convert: Callable[[object], str] = str) -> str | None:
    """Return ``str(thing)``, or what `convert` returns; None if that raises an error."""
    try:
        # A copy: a subclass of `str` could raise errors later.
        return "".join(convert(thing))
    except BaseException as error:
        if is_interrupt(error):
            raise
        return None


def repr_of(thing: object) -> str:
    """Return ``repr(thing)``, or the name of its type if that raises."""
    shown = text_of(thing, repr)
    return f"<{type(thing).__name__}>" if shown is None else shown


def describe(error: BaseException) -> str:
    """Return an exception's type and text in one line; its type only if it has no text, or if its text raises."""
    text = (text_of(error) or "").strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def quietly(function: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    """Call `function`, which writes a log line. If a log handler raises an error, report it to stderr."""
    try:
        function(*args, **kwargs)
    except BaseException as error:
        report_lost_line(error)


def report_lost_line(error: BaseException) -> None:
    """Report to stderr that a log handler raised `error`. Raises only what a signal raised."""
    if is_interrupt(error):
        raise error
    try:
        sys.stderr.write(f"flowcluster: a log line is lost, as a log handler raised {describe(error)}\n")
    except Exception:
        pass  # there is no place left to report to
