"""The guard of a script whose own worker processes import it: ``if __name__ == "__main__":``."""

from __future__ import annotations

import ast
import os
import sys
import threading
from types import FrameType
from typing import Any

from flowcluster.errors import ClusterNotStarted

#: The name that Python gives to the file of a script from standard input.
_STDIN = "<stdin>"


def require_guard(starts: str) -> None:
    """Raise `ClusterNotStarted` if a line of the script that worker processes would run again starts the flow run.

    Worker processes import the program's script. A line at its top level that starts a flow run would start another
    flow run in each of them, before they can work.

    Args:
        starts: name of the runner that starts the processes, for the message.
    """
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    if path == _STDIN and not os.path.exists(path):
        # Spawned processes would search for that file. The SDK sends its functions by value, like those of a notebook.
        del main.__file__
        return
    if not path or (line := _line_of(main, path)) is None or _is_guarded(path, line):
        return
    raise ClusterNotStarted(
        f"{starts} starts processes that import {path} again, and line {line} would start a flow run in each of them. "
        'Put that line under: if __name__ == "__main__":',
        "MainNotGuarded",
    )


def _line_of(main: Any, path: str) -> int | None:
    """Return the line at the script's top level that is being executed; None if there is none."""
    frame: FrameType | None = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals is vars(main) and frame.f_code.co_filename == path:
            return frame.f_lineno
        frame = frame.f_back
    return None


def _is_guarded(path: str, line: int) -> bool:
    """Return whether the script reads ``__name__`` in or before the statement in that line, or cannot be read."""
    try:
        with open(path, "rb") as file:
            body = ast.parse(file.read(), path).body
    except (OSError, SyntaxError, ValueError):
        return True
    return any(
        isinstance(node, ast.Name) and node.id == "__name__"
        for statement in body
        if statement.lineno <= line and not isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
        for node in ast.walk(statement)
        if isinstance(statement, ast.If) or (statement.end_lineno or 0) >= line
    )


def starts_local_processes(make: Any, kwargs: Any) -> bool:
    """Return whether a cluster class is Dask's LocalCluster with worker processes that import the script."""
    import dask
    import distributed

    is_local = isinstance(make, type) and issubclass(make, distributed.LocalCluster)
    method = dask.config.get("distributed.worker.multiprocessing-method", "spawn")
    if not is_local or method == "fork" or kwargs.get("worker_class") is distributed.Worker:
        return False
    return kwargs.get("processes") is not False and kwargs.get("n_workers") != 0
