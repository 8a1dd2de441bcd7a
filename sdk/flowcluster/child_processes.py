"""Processes that code of tasks starts with multiprocessing: they end with the process that started them.

multiprocessing ends its processes when the process that started them ends by itself, and not when that is killed, as
by ``kill -9``.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from multiprocessing import util
from typing import Any

_KEY = "flowcluster"
#: Seconds between two looks whether multiprocessing knows the parent of a process that was spawned.
_LOOK = 0.05


class _Mark:
    """A part of a process's configuration, which multiprocessing copies to the processes that this one starts.

    A process that is forked inherits it. One that is spawned gets it pickled.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _spawned, ()


def end_with_this_process() -> None:
    """Let processes that multiprocessing starts here from now on, and those that they start, end with this one."""
    config: dict[str, Any] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    if _KEY not in config:
        config[_KEY] = _marked()


def _marked() -> _Mark:
    mark = _Mark()
    util.register_after_fork(mark, lambda _: _end_with_parent())
    return mark


def _spawned() -> _Mark:
    _end_with_parent()  # multiprocessing calls no functions for forks in a process that was spawned
    return _marked()


class _Watch:
    """The process that ends with its parent, by its id; another one has been forked from it since."""

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
    # Other libraries' ways to start processes, such as loky's, do not show when the parent ends.
    if parent._sentinel is not None:
        parent.join()
        os._exit(1)
