"""Prepare a worker so that code of tasks can start child processes with multiprocessing.

`prepare` gives these processes the following properties:

- They end with the process that started them. multiprocessing ends them only when that process ends by itself, and not
  when it is killed, as by ``kill -9``.
- They can import the modules of the project, which a worker got from the flow's process.
- A task can send functions and classes of the script to them, and get them back. A worker has these by value, and
  cannot find them by their names. Otherwise a process that cannot load its task would end, and a pool would start the
  next one.
- Signals end them, and have no effect on the process that forked them: see `fork_signals`.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import pickle
import threading
import time
import types
from multiprocessing import reduction, util
from typing import Any

from flowcluster._util import fork_signals, pickling
from flowcluster.project import by_value, modules
from flowcluster.project.source import Reference
from flowcluster.runners import task_pickles

_KEY = "flowcluster"
#: Seconds between two checks whether multiprocessing knows the parent of a spawned process.
_LOOK = 0.05


class _Mark:
    """An entry in the configuration of a process, which multiprocessing copies to the processes that it starts.

    A forked process inherits it. A spawned process gets it pickled, and `_spawned` runs there when it is unpickled.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        here = modules.current()
        # The new process uses the last project. A pool can start the process later, in a thread without a task.
        projects = sorted(modules.in_use(), key=lambda project: here is not None and project is here[0])
        return _spawned, ([(project.digest, project.packed) for project in projects],)


def prepare() -> None:
    """Give these properties to processes that multiprocessing starts from now on, and to those that they start."""
    _send_code()
    fork_signals.prepare()
    config: dict[str, Any] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    if _KEY not in config:
        config[_KEY] = _marked()


def _marked() -> _Mark:
    mark = _Mark()
    util.register_after_fork(mark, lambda _: _end_with_parent())
    return mark


def _spawned(projects: list[tuple[str, bytes]]) -> _Mark:
    _end_with_parent()  # a spawned process does not call the function of `register_after_fork`
    _send_code()
    fork_signals.prepare()
    for digest, packed in projects:
        _projects.enter_context(modules.using(Reference(digest, ""), functools.partial(_fetch_packed, packed)))
        task_pickles.install()
    return _marked()


def _fetch_packed(packed: bytes, place: str) -> bytes:
    return packed


#: The projects of a spawned process, until its end.
_projects = contextlib.ExitStack()


def _send_code() -> None:
    """Let multiprocessing send functions and classes by value that cannot be found by their names."""
    kind: Any = reduction.ForkingPickler
    if "reducer_override" not in vars(kind):
        kind.reducer_override = lambda _, thing: _reduced(thing)


def _reduced(thing: Any) -> Any:
    kind = type(thing)
    if (kind is types.FunctionType or issubclass(kind, type)) and by_value.is_lost(thing):
        return _loaded, (pickling.dumps(thing),)
    return NotImplemented


def _loaded(data: bytes) -> Any:
    _send_code()
    return pickle.loads(data)


class _Watch:
    """The id of this process if it watches its parent. A process that it forks has another id, and no such thread."""

    process: int | None = None


def _end_with_parent() -> None:
    if _Watch.process != os.getpid():
        _Watch.process = os.getpid()
        threading.Thread(target=_exit_after_parent, name="flowcluster-parent", daemon=True).start()


def _exit_after_parent() -> None:
    parent: Any = multiprocessing.parent_process()
    while parent is None:  # this process is being spawned
        time.sleep(_LOOK)
        parent = multiprocessing.parent_process()
    # Other libraries, such as loky, start processes without a sentinel, so these cannot observe the end of the parent.
    if parent._sentinel is not None:
        parent.join()
        os._exit(1)
