"""``log_prints``: what the code of a run prints becomes log lines of that run.

``print`` itself is replaced, once in a process and only when a run asks for it, so that it works in
code that knows nothing of runs, in threads and on workers. What bypasses ``print``, such as
``sys.stdout.write``, stays as it is.
"""

from __future__ import annotations

import builtins
import functools
import io
import sys
import threading
from typing import Any

from flowcluster import logs
from flowcluster.context import FlowContext, TaskContext, current

Run = FlowContext | TaskContext

_lock = threading.Lock()
_original: Any = None
# Set while a thread writes such a line: a log handler that prints must not start over.
_busy = threading.local()


def began(run: Run) -> None:
    """For the engine: code of `run` is about to be executed here."""
    global _original
    if not run.log_prints or _original is not None:
        return
    with _lock:
        if _original is None:
            _original = builtins.print
            builtins.print = _print


def ended(run: Run) -> None:
    """For the engine: the code of `run` has ended; a last line without an end is a line all the same."""
    if run.printed:
        text, run.printed = run.printed, ""
        _log(run, text, 1)


# Under the name of the original, so that a reference to it means on a worker what it means there.
@functools.wraps(builtins.print)
def _print(
    *values: object, sep: str | None = " ", end: str | None = "\n", file: Any = None, flush: bool = False
) -> None:
    """Print values to a stream, or to sys.stdout by default; in a run with `log_prints`, to its logger."""
    run = current.get()
    if run is None or not run.log_prints or not _means_stdout(file) or getattr(_busy, "here", False):
        _original(*values, sep=sep, end=end, file=file, flush=flush)
        return
    text = io.StringIO()
    _original(*values, sep=sep, end=end, file=text)
    with _lock:
        printed = run.printed + text.getvalue()
        # What has no line's end yet is the beginning of a line: a row of dots becomes one record.
        lines, newline, run.printed = printed.rpartition("\n")
    if newline:
        _log(run, lines, 2)


def _means_stdout(file: Any) -> bool:
    if file is not None and file is not sys.stdout:
        return False
    # Somebody collects what is printed, by ``redirect_stdout(io.StringIO())``, and wants to have it.
    return not isinstance(sys.stdout, io.StringIO)


def _log(run: Run, text: str, depth: int) -> None:
    _busy.here = True
    try:
        # The record's place in the source is that of the call of `print`.
        logs.logger_of(run).info("%s", text, stacklevel=depth + 1)
    finally:
        _busy.here = False
