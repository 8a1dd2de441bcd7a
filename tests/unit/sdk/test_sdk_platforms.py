"""Only one module contains the differences between Linux, macOS and Windows."""

from __future__ import annotations

import ast
import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import flowcluster
import flowcluster_api
from flowcluster._util import platforms
from flowcluster.agent.__main__ import feed
from tests.unit.sdk.test_sdk_windows import WITHOUT_POSIX

PACKAGES = [Path(str(package.__file__)).parent for package in (flowcluster, flowcluster_api)]
#: The module that can use functions that a platform lacks.
PLATFORMS = PACKAGES[0] / "_util" / "platforms.py"
#: A keeper sends these modules by value to a scheduler in a pod, whose image does not have to have `platforms`.
SENT = {PACKAGES[0] / "agent" / "shared_runs_plugin.py": ["ctypes.CDLL"]}

#: Modules that a platform lacks, or whose functions differ between platforms.
MODULES = {
    *("crypt", "fcntl", "grp", "msvcrt", "nis", "posix", "pty", "pwd", "readline", "resource", "select"),
    *("selectors", "spwd", "syslog", "termios", "tty", "winreg", "_winapi"),
}
#: Names of `signal` on all platforms.
SIGNAL = {
    *("Handlers", "SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN", "Signals"),
    *("default_int_handler", "getsignal", "raise_signal", "set_wakeup_fd", "signal", "strsignal", "valid_signals"),
}
#: Functions of `os` that behave differently on Windows.
OTHERWISE = {"getppid", "kill", "name", "chmod", "symlink", "startfile", "abort"}
#: Methods of event loops, and functions of asyncio, that some event loops lack.
METHODS = {
    *("add_reader", "add_signal_handler", "add_writer", "connect_read_pipe", "connect_write_pipe"),
    *("create_unix_connection", "create_unix_server", "open_unix_connection", "remove_reader", "remove_signal_handler"),
    *("remove_writer", "sock_sendfile", "start_unix_server", "subprocess_shell"),
}
#: Names of sockets and of `sys`.
OTHERS = {
    "AF_UNIX",
    "AF_NETLINK",
    "SO_REUSEPORT",
    "SO_PEERCRED",
    "MSG_DONTWAIT",
    "sendmsg",
    "platform",
    "getwindowsversion",
}
#: Arguments of `subprocess.Popen`.
ARGUMENTS = {
    *("close_fds", "creationflags", "extra_groups", "group", "pass_fds", "preexec_fn", "process_group"),
    *("start_new_session", "startupinfo", "umask", "user"),
}
#: Folders that exist only on Linux.
FOLDERS = ("/dev/", "/proc/", "/sys/", "/run/", "/etc/", "/tmp/", "/var/")
#: Files that the SDK reads only in pods: the token of the service account, its namespace and its CA.
IN_PODS = ("/var/run/secrets/", "/etc/flowcluster")


def uses(source: str) -> Iterator[str]:
    """Yield the names in a program that a platform lacks."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module.partition(".")[0] in MODULES:
                yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if lacks(node.module, alias.name))
        elif isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if lacks(owner, node.attr):
                yield f"{owner}.{node.attr}"
        elif isinstance(node, ast.keyword) and node.arg in ARGUMENTS:
            yield node.arg
        elif isinstance(node, ast.Constant) and _is_place(node.value):
            yield str(node.value)


def _is_place(value: object) -> bool:
    return isinstance(value, str) and value.startswith(FOLDERS) and not value.startswith(IN_PODS)


def lacks(owner: str, name: str) -> bool:
    """Return whether a platform lacks the name, in a module or of any object."""
    if name in METHODS or (name in OTHERS and owner in ("socket", "sys")):
        return True
    if owner == "signal":
        return name not in SIGNAL
    if owner == "ctypes":
        return name in ("CDLL", "WinDLL", "cdll", "util", "windll")
    if owner == "multiprocessing":
        return name in ("get_context", "set_start_method")
    return owner == "os" and (name in OTHERWISE or name not in ON_WINDOWS)


#: Names of `os` on Windows that the SDK uses.
ON_WINDOWS = {
    *("O_CREAT", "O_RDWR", "PathLike", "_exit", "close", "cpu_count", "dup", "dup2", "environ", "fsdecode", "fspath"),
    *("fstat", "get_terminal_size", "getcwd", "getpid", "listdir", "makedirs", "open", "path", "pathsep", "read"),
    *("remove", "rename", "replace", "scandir", "sep", "stat", "terminal_size", "unlink", "urandom", "walk", "write"),
    *("__file__", "linesep", "fsencode", "getlogin", "mkdir", "rmdir", "devnull", "stat_result", "DirEntry"),
}


def test_only_one_module_uses_names_that_a_platform_lacks() -> None:
    """A new use belongs in `platforms`, with the behaviour on the other platforms."""
    files = [path for package in PACKAGES for path in package.rglob("*.py") if path != PLATFORMS]
    found = {str(path): sorted(set(uses(path.read_text(encoding="utf-8")))) for path in files}

    assert len(files) > 100
    assert {path: names for path, names in found.items() if names} == {str(path): names for path, names in SENT.items()}


def test_uses_of_names_that_a_platform_lacks_are_found() -> None:
    program = """
import fcntl, resource
from signal import SIGKILL
from os import fork
import os, signal, sys, subprocess, asyncio, multiprocessing
os.getppid(), os.set_blocking, os.sched_getaffinity(0), signal.SIGHUP, signal.SIGTERM, os.urandom(1), sys.platform
loop.add_signal_handler(1, print)
subprocess.Popen(["x"], start_new_session=True)
multiprocessing.get_context("fork")
open("/proc/self/stat")
"""
    assert sorted(uses(program)) == sorted(
        [
            *(
                "fcntl",
                "resource",
                "signal.SIGKILL",
                "os.fork",
                "os.getppid",
                "os.set_blocking",
                "os.sched_getaffinity",
            ),
            *("signal.SIGHUP", "sys.platform", "loop.add_signal_handler", "start_new_session"),
            *("multiprocessing.get_context", "/proc/self/stat"),
        ]
    )


WINDOWS = (
    "import psutil, select\n"
    + WITHOUT_POSIX
    + """
del select.poll
from flowcluster._util import platforms
from flowcluster.agent.driver_process import DriverProcess
from flowcluster.engine.caching.claims import FileLock
"""
)


def on_windows(program: str, *arguments: str) -> list[str]:
    """Return the lines that a program writes with only those names that Python has on Windows."""
    command = [sys.executable, "-c", WINDOWS + program, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return ended.stdout.splitlines()


@pytest.mark.processes
def test_windows_uses_replacements_for_names_that_it_lacks() -> None:
    program = """
platforms.after_fork(print)
print(platforms.has_parent(os.getppid()), platforms.has_room(1), platforms.is_in_foreground(2))
print("start_new_session" in platforms.beyond_ctrl_c())
"""
    assert on_windows(program) == ["None True True", "False"]


@pytest.mark.processes
def test_windows_locks_files_by_its_own_functions(tmp_path: Path) -> None:
    program = """
import threading
path = os.path.join(sys.argv[1], "made", "key.lock")
first, second, third = FileLock(path), FileLock(path), FileLock(path)
print(first.try_to_lock(), second.try_to_lock())
has_third = threading.Event()
third.when_locked(has_third.set)
first.unlock()
print(has_third.wait(60), second.try_to_lock())
third.unlock()
print(os.path.exists(path), second.try_to_lock())
second.unlock()
"""
    assert on_windows(program, str(tmp_path)) == ["True False", "True False", "False True"]


@pytest.mark.processes
def test_agent_on_windows_detects_whether_its_driver_has_ended() -> None:
    """On Windows, a process keeps the id of its parent."""
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    program = """
driver, me, other = DriverProcess(int(sys.argv[1])), DriverProcess(os.getpid()), DriverProcess(2**22 + 1)
print(driver.is_gone(), me.is_gone(), other.is_gone(), flush=True)
input()
print(driver.is_gone(), flush=True)
"""
    agent = subprocess.Popen(
        [sys.executable, "-c", WINDOWS + program, str(other.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert agent.stdin is not None
    assert agent.stdout is not None
    first = agent.stdout.readline()
    other.communicate(b"\n")
    rest, _ = agent.communicate("\n", timeout=60)

    assert (first, rest) == ("False False True\n", "True\n")


def test_agent_reads_messages_of_its_driver_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event loops on Windows cannot wait for a pipe."""
    output, into = os.pipe()

    async def lines() -> list[bytes]:
        reader = asyncio.StreamReader()
        thread = threading.Thread(target=feed, args=[asyncio.get_running_loop(), reader])
        thread.start()
        os.write(into, b"first\nafter")
        found = [await reader.readline()]
        os.write(into, b"wards\n")
        os.close(into)
        found += [await reader.readline(), await reader.readline()]
        await asyncio.to_thread(thread.join)
        return found

    with open(output) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)

        assert asyncio.run(lines()) == [b"first\n", b"afterwards\n", b""]


def test_process_has_a_session_of_its_own_when_ctrl_c_must_not_reach_it() -> None:
    code = "import os; print(os.getsid(0) == os.getpid())"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, **platforms.beyond_ctrl_c())

    assert process.communicate(timeout=60)[0].strip() == b"True"
    assert platforms.has_parent(os.getppid())
