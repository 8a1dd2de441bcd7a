"""What the code of runs prints: whole lines, and with ``log_prints`` log lines of the run.

``print`` itself is replaced, once in a process, so that it works in code that knows nothing of runs, in threads and on
workers. The original writes a line and its end apart, and each thread's pieces fall between those of others. What
bypasses ``print``, such as ``sys.stdout.write``, stays as it is.
"""

from __future__ import annotations

import builtins
import functools
import io
import sys
import threading
from types import BuiltinFunctionType
from typing import Any

from flowcluster import logs, terminal
from flowcluster.context import FlowContext, TaskContext, current

Run = FlowContext | TaskContext

_lock = terminal.whole_lines
_original: Any = None
# Where the `print` is from that Ray puts in place of what it finds.
_RAYS = "ray.experimental.tqdm_ray"
# Set while a thread writes such a line: a log handler that prints must not start over.
_busy = threading.local()


def install(log_prints: bool = False) -> None:
    """For the engine: code of a run is about to be loaded or executed here.

    A `print` of the application's own stays, unless the run's prints are to be logged.
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
        elif _original is not None and is_rays:  # it came later, and calls this one
            builtins.print = _print


def _go_below_ray() -> None:
    """Let the `print` that Ray puts in place, now or later, call this one.

    Ray replaces `print` when the first line of a worker arrives, with one that calls what was there when Ray was
    imported. While a flow runs, its prints would no longer reach its logger.
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
    """For the engine: the code of `run` has ended; a last line without an end is a line all the same."""
    if not run.printed:
        return
    text, run.printed = run.printed, ""
    if run.log_prints:
        _log(run, text, 1)
    else:
        _write(sys.stdout, f"{text}\n", flush=False)


# Under the name of the original, so that a reference to it means on a worker what it means there.
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
        # What has no line's end yet is the beginning of a line: a row of dots becomes one record.
        lines, newline, run.printed = printed.rpartition("\n")
        if flush and not is_logged:
            lines, newline, run.printed = printed, "", ""
    if is_logged:
        if newline:
            _log(run, lines, 2)
    elif lines or newline:
        _write(stream, lines + newline, flush)


def _collects(run: Run, stream: Any) -> bool:
    """Whether code of the run has put the stream in place of stdout: a text in memory, or a file that it opened."""
    if isinstance(stream, io.StringIO):
        return True
    return type(stream) is io.TextIOWrapper and stream is not run.stdout and stream is not sys.__stdout__


def _keeps_pieces(run: Run, stream: Any) -> bool:
    """Whether the beginning of a line waits for its end: other tasks may print at the same time.

    In the main thread it does not: there the code can ask for input after it.
    """
    return (
        isinstance(run, TaskContext)
        and stream is sys.__stdout__
        and threading.current_thread() is not threading.main_thread()
    )


def _write(stream: Any, text: str, flush: bool) -> None:
    """Write the text in one piece that no other line gets into."""
    with terminal.whole_lines:
        stream.write(text)
        # A buffer of a stream to a pipe would be written in pieces of its own size.
        if flush or (stream is sys.__stdout__ and text.endswith("\n")):
            stream.flush()


def _log(run: Run, text: str, depth: int) -> None:
    _busy.here = True
    try:
        # The record's place in the source is that of the call of `print`.
        logs.logger_of(run).info("%s", text, stacklevel=depth + 1)
    finally:
        _busy.here = False
