"""Prints of runs: whole lines, and log lines of the run with ``log_prints``.

``print`` itself is replaced, once in a process, so that this works in any code, in threads and on workers. The original
writes a line and its end separately, so that the pieces of several threads mix. Output that bypasses ``print``, such as
``sys.stdout.write``, is not changed.
"""

from __future__ import annotations

import builtins
import functools
import io
import sys
import threading
from types import BuiltinFunctionType
from typing import Any

from flowcluster._output import logs, terminal
from flowcluster.context import FlowContext, TaskContext, current

Run = FlowContext | TaskContext

_lock = terminal.whole_lines
_original: Any = None
# The module of the `print` by which Ray replaces the current one.
_RAYS = "ray.experimental.tqdm_ray"
# Set in a thread while it logs a print: the prints of a log handler must not be logged.
_busy = threading.local()


def install(log_prints: bool = False) -> None:
    """Replace `print`, before code of a run is loaded or executed in this process.

    An application's own `print` stays, unless the run's prints are to be logged.

    Args:
        log_prints: whether the run's prints are logged.
    """
    global _original
    if builtins.print is _print:
        return
    with _lock:
        current_one = builtins.print
        is_rays = current_one.__module__ == _RAYS
        if _original is None and (log_prints or is_rays or isinstance(current_one, BuiltinFunctionType)):
            _original = current_one
            _go_below_ray()
            builtins.print = _print
        elif _original is not None and is_rays:  # Ray replaced this one later, and calls it
            builtins.print = _print


def _go_below_ray() -> None:
    """Let the `print` that Ray installs, now or later, call this one.

    Ray replaces `print` when the first line of a worker arrives. Its replacement calls the `print` that existed when
    Ray was imported. The prints of a flow that runs at that time would not reach the flow's logger any more.
    """
    global _original
    ray_module = sys.modules.get(_RAYS)
    below = getattr(ray_module, "_print", None)
    if ray_module is None or below is None:
        return
    if _original is getattr(ray_module, "safe_print", None):
        _original = below
    vars(ray_module)["_print"] = _print


def ended(run: Run) -> None:
    """Write the last printed line of a run whose code has ended, if that line has no line break."""
    if not run.printed:
        return
    text, run.printed = run.printed, ""
    if run.log_prints:
        _log(run, text, 1)
    else:
        _write(sys.stdout, f"{text}\n", flush=False)


# It has the name of the original, so that a pickled reference means the worker's own `print`.
@functools.wraps(builtins.print)
def _print(
    *values: object, sep: str | None = " ", end: str | None = "\n", file: Any = None, flush: bool = False
) -> None:
    """Print values to a stream, or to sys.stdout by default; in a run with `log_prints`, to its logger."""
    run = current.get()
    stream = sys.stdout if file is None else file
    if run is None or stream is None or getattr(_busy, "here", False):
        _original(*values, sep=sep, end=end, file=file, flush=flush)
        return
    is_stdout = stream is sys.stdout
    is_logged = run.log_prints and is_stdout and not _collects(run, stream)
    if not is_logged and not is_stdout and stream is not sys.stderr:
        _original(*values, sep=sep, end=end, file=file, flush=flush)
        return
    text = io.StringIO()
    _original(*values, sep=sep, end=end, file=text)
    if not is_logged and not (is_stdout and _keeps_pieces(run, stream)):
        _write(stream, text.getvalue(), flush)
        return
    with _lock:
        printed = run.printed + text.getvalue()
        # A text without a line break is the beginning of a line: a row of dots becomes one record.
        lines, newline, run.printed = printed.rpartition("\n")
        if flush and not is_logged:
            lines, newline, run.printed = printed, "", ""
    if is_logged:
        if newline:
            _log(run, lines, 2)
    elif lines or newline:
        _write(stream, lines + newline, flush)


def _collects(run: Run, stream: Any) -> bool:
    """Return whether code of the run has replaced stdout by this stream: a text in memory, or a file."""
    if isinstance(stream, io.StringIO):
        return True
    return type(stream) is io.TextIOWrapper and stream is not run.stdout and stream is not sys.__stdout__


def _keeps_pieces(run: Run, stream: Any) -> bool:
    """Return whether the beginning of a line is kept until its end is printed, because other tasks can print meanwhile.

    In the main thread it is not kept: code there can print a prompt and then read input.
    """
    return (
        isinstance(run, TaskContext)
        and stream is sys.__stdout__
        and threading.current_thread() is not threading.main_thread()
    )


def _write(stream: Any, text: str, flush: bool) -> None:
    """Write the text in one piece, so that it does not mix with other lines."""
    with terminal.whole_lines:
        stream.write(text)
        # The buffer of a stream to a pipe would otherwise be written in pieces of its own size.
        if flush or (stream is sys.__stdout__ and text.endswith("\n")):
            stream.flush()


def _log(run: Run, text: str, depth: int) -> None:
    _busy.here = True
    try:
        # The record has the location of the call of `print`.
        logs.logger_of(run).info("%s", text, stacklevel=depth + 1)
    finally:
        _busy.here = False
