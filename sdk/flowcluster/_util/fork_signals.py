"""Signal handling in forked processes. multiprocessing forks by default on Linux.

A forked process inherits its parent's handlers, and some of them act only on the parent:

- The handler of an event loop, or of a Dask worker, wakes up a loop that does not run in the forked process. SIGTERM
  does not end that process, so `multiprocessing.Pool`, which ends its processes by SIGTERM, waits for them forever.
- With an event loop, Python writes the number of each signal into a socket, which a forked process shares. Until Python
  3.12, the parent's loop handles the signals of its forks as its own: the end of a pool cancelled the flow run.

So a forked process gets the default handler of SIGTERM, unless the application has set another one.
"""

from __future__ import annotations

import functools
import signal
import threading
from typing import Any

from flowcluster._util import platforms

#: Packages whose handlers act only on the process that set them.
_OF_ONE_PROCESS = frozenset({"flowcluster", "asyncio", "uvloop", "distributed", "ray"})

#: Seconds after which this process repeats a SIGTERM to itself that arrived while its main thread forked.
_AGAIN_SECONDS = 0.02


class _Fork(threading.local):
    """A fork that this thread makes.

    Attributes:
        held: what `platforms.let_through` needs to deliver a signal that was held back.
    """

    held: Any = None


_fork = _Fork()


@functools.lru_cache(maxsize=1)
def _registered() -> None:
    platforms.around_fork(_before, _in_parent, _in_child)


_lock = threading.Lock()


def prepare() -> None:
    """Handle signals as described above in processes that are forked from now on."""
    with _lock:  # a cached function can be called twice before it has returned
        _registered()


def _before() -> None:
    # Without this, a forked process would lose a signal that arrives before its handler is replaced.
    _fork.held = platforms.hold_back(signal.SIGTERM)


def _in_parent() -> None:
    held, _fork.held = _fork.held, None
    is_main = threading.get_ident() == threading.main_thread().ident
    # Python would call the handler within this function, and ignore what it raises, such as `Terminated`.
    has_arrived = is_main and platforms.take_held_back(signal.SIGTERM, held)
    platforms.let_through(held)
    if has_arrived:
        platforms.send_again(signal.SIGTERM, _AGAIN_SECONDS)


def _in_child() -> None:
    held, _fork.held = _fork.held, None
    signal.set_wakeup_fd(-1)
    if _is_of_one_process(signal.getsignal(signal.SIGTERM)):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    platforms.let_through(held)


def _is_of_one_process(handler: Any) -> bool:
    while isinstance(handler, functools.partial):
        handler = handler.func
    module = getattr(handler, "__module__", None)
    return type(module) is str and module.partition(".")[0] in _OF_ONE_PROCESS
