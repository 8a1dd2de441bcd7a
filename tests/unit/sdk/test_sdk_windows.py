"""Flows with a Python without the modules of POSIX, as on Windows."""

from __future__ import annotations

import subprocess
import sys

#: A program that removes the names that Python lacks on Windows, after the import of the standard library.
WITHOUT_POSIX = """
import asyncio, concurrent.futures, errno, fcntl, logging.config, multiprocessing, os, signal, subprocess, sys, tempfile
import threading, types

def lock(descriptor, mode, size, locks=fcntl):
    try:
        locks.flock(descriptor, locks.LOCK_EX | locks.LOCK_NB)
    except BlockingIOError:
        raise PermissionError(errno.EACCES, "Permission denied") from None

sys.modules["msvcrt"] = types.SimpleNamespace(locking=lock, LK_NBLCK=2)

opening = threading.Lock()

def open_file(*arguments, posix_open=os.open):
    with opening:
        return posix_open(*arguments)

def delete_file(path, posix_unlink=os.unlink):
    with opening:
        for descriptor in os.listdir("/proc/self/fd"):
            if os.path.exists(path) and os.path.realpath(f"/proc/self/fd/{descriptor}") == os.path.realpath(path):
                raise PermissionError(errno.EACCES, "The file is in use", path)
        posix_unlink(path)

os.open, os.unlink = open_file, delete_file

def refuse(*_):
    raise NotImplementedError

for name in ("add_signal_handler", "remove_signal_handler"):
    setattr(asyncio.SelectorEventLoop, name, refuse)
for name in ("fork", "getpgrp", "tcgetpgrp", "killpg", "getuid", "geteuid", "mkfifo", "register_at_fork", "setsid"):
    delattr(os, name)
for name in ("SIGKILL", "SIGSTOP", "SIGCHLD", "SIGHUP", "pthread_sigmask"):
    delattr(signal, name)

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "termios", "pty", "tty", "pwd", "grp", "resource", "syslog"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in ("fcntl", "termios", "pty", "tty", "resource"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Refusing())
sys.platform = "win32"
"""

FLOWS = """
from flowcluster import flow, task
from flowcluster._util import platforms

@task(cache_key_fn=lambda *_: "key", retries=1)
def double(number):
    return 2 * number

@flow
def threads():
    return double.map([1, 1])

@flow
async def stopped():
    signal.raise_signal(signal.SIGTERM)
    await asyncio.sleep(60)

print(threads())
try:
    asyncio.run(stopped())
except BaseException as error:
    print(type(error).__name__)
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, platforms.is_in_foreground(2))
"""


def test_flows_run_without_names_of_posix() -> None:
    program = WITHOUT_POSIX + FLOWS
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert ended.stdout.splitlines() == ["[2, 2]", "Terminated", "True True"], ended.stderr
