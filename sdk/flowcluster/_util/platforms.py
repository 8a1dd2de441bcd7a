"""Differences between Linux, macOS and Windows.

No other module of the SDK uses what one of these systems lacks. This module has the replacement.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    import asyncio


def is_windows() -> bool:
    """Return whether this is Windows. For the SDK, Linux and macOS do not differ."""
    return sys.platform == "win32"


def after_fork(function: Callable[[], object]) -> None:
    """Call `function` in each process that is forked from this one. Windows does not fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


def around_fork(before: Callable[[], object], in_parent: Callable[[], object], in_child: Callable[[], object]) -> None:
    """Call these functions around each fork of this process, in the thread that forks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)


def hold_back(number: int) -> Any:
    """Block a signal for this thread. Return what `let_through` needs to undo that."""
    return signal.pthread_sigmask(signal.SIG_BLOCK, [number])


def take_held_back(number: int, held: Any) -> bool:
    """Remove a pending signal that `hold_back`, which returned `held`, has blocked. Return whether there was one."""
    if number in held or number not in signal.sigpending():
        return False
    signal.sigwait([number])
    return True


def send_again(number: int, seconds: float) -> None:
    """Send a signal to this process after some seconds."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


def let_through(held: Any) -> None:
    """Undo `hold_back`."""
    signal.pthread_sigmask(signal.SIG_SETMASK, held)


def is_in_foreground(descriptor: int) -> bool:
    """Return whether this process is in the foreground of the terminal, and can write without disturbing others.

    Windows has no programs in the background of a terminal.
    """
    if not hasattr(os, "tcgetpgrp"):
        return True
    try:
        return bool(os.tcgetpgrp(descriptor) == os.getpgrp())
    except OSError:
        return True  # it is not this process's controlling terminal, so there is no shell to disturb


def beyond_ctrl_c() -> dict[str, Any]:
    """Return the arguments of `subprocess.Popen` for a process that Ctrl-C in the terminal does not reach."""
    if is_windows():
        return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    return {"start_new_session": True}


def has_parent(pid: int) -> bool | None:
    """Return whether the process `pid` is still the parent of this one.

    Return None on Windows, where a process keeps the id of a parent that has ended, and another process can get it.
    """
    return None if is_windows() else os.getppid() == pid


def has_room(descriptor: int) -> bool:
    """Return whether a pipe can be written without waiting for its reader.

    Return True on Windows, which does not report that. Signals do not stop processes there, so the reader reads soon.
    """
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


#: Seconds between two attempts to lock a file on Windows, where no process is woken up when a lock is released.
_LOCK_PAUSE = 0.05


def lock_file(descriptor: int, wait: bool) -> None:
    """Lock an open file between processes; the system unlocks it when the process ends.

    Raises:
        BlockingIOError: another process has locked it, and `wait` is false.
        OSError: the file system has no locks.
    """
    if sys.platform == "win32":
        while not _locks_on_windows(descriptor, wait):
            time.sleep(_LOCK_PAUSE)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


if sys.platform == "win32":

    def _locks_on_windows(descriptor: int, wait: bool) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EDEADLK):
                raise
            if not wait:
                raise BlockingIOError(error.errno, "another process has locked the file") from error
            return False
        return True


def delete_locked_file(path: str, descriptor: int) -> None:
    """Delete a file that `lock_file` has locked, and unlock it.

    A process that waits for the lock then locks a file that does not exist any more. Windows deletes only closed files.
    There, the file remains if another process waits for the lock, and that process then holds the lock.
    """
    if is_windows():
        os.close(descriptor)
    with contextlib.suppress(OSError):
        os.unlink(path)
    if not is_windows():
        os.close(descriptor)


def call_on_signal(loop: asyncio.AbstractEventLoop, number: int, function: Callable[[], None]) -> None:
    """Call `function` on the event loop when the signal arrives. Only for the main thread.

    Event loops on Windows have no handlers of signals. There, Python's own handler calls the function on the loop.
    """
    try:
        loop.add_signal_handler(number, function)
    except NotImplementedError:
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(function))


def call_no_more(loop: asyncio.AbstractEventLoop, number: int, handler: Any) -> None:
    """Undo `call_on_signal`, and let `handler` handle the signal."""
    with contextlib.suppress(NotImplementedError):
        loop.remove_signal_handler(number)
    signal.signal(number, handler)
