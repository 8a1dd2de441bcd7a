"""A process that starts operators by fork: it has already imported their libraries, which takes a second of CPU.

It has also imported the operator's own modules of this checkout, which take another fifth. An operator of another
checkout imports its modules after the fork, from its PYTHONPATH.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import pathlib
import random
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import threading
from typing import IO, Any

from tests.support.rig.process import ROOT, CpuAndMemory

_LIBRARIES = ("kopf", "aiohttp", "pydantic", "yaml", "cryptography.x509", "zoneinfo")
_MODULE = "flowcluster_operator"
#: Packages of a checkout: those of another one replace them.
_OWN = (_MODULE, "flowcluster_api")
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


class Forked(CpuAndMemory):
    """An operator that the nursery has started."""

    def __init__(self) -> None:
        self.pid = 0
        self._code: int | None = None
        self._is_started, self._has_ended = threading.Event(), threading.Event()

    def take(self, news: dict[str, int]) -> None:
        """Store a report of the nursery."""
        if "pid" in news:
            self.pid = news["pid"]
            self._is_started.set()
        else:
            self._code = news["code"]
            self._is_started.set()
            self._has_ended.set()

    def wait_started(self) -> None:
        """Wait until its process exists."""
        assert self._is_started.wait(60), "the nursery starts no process"

    def wait(self) -> int:
        """Wait for its end and return its exit code, negative for a signal."""
        self._has_ended.wait()
        assert self._code is not None
        return self._code

    def signal_kill(self) -> None:
        """Send SIGKILL and return."""
        if not self._has_ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class Nursery:
    """Starts operators."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forked: list[Forked] = []
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the process that forks."""
        command = [sys.executable, "-m", "tests.support.rig.nursery"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(_folders())}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )
        self._reader = threading.Thread(target=self._read, daemon=True, name="nursery")
        self._reader.start()

    def stop(self) -> None:
        """End the process, and its operators with it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of all operators that have ended."""
        assert self._process is not None
        fields = pathlib.Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")

    def fork(self, environment: dict[str, str], log: pathlib.Path) -> Forked:
        """Start an operator and return when its process exists."""
        assert self._process is not None
        assert self._process.stdin is not None
        with self._lock:
            forked = Forked()
            self._forked.append(forked)
            request = {"environment": environment, "log": str(log)}
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        forked.wait_started()
        return forked

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            news = json.loads(line)
            self._forked[news.pop("number")].take(news)
        for forked in self._forked:
            if forked.pid:
                forked.take({"code": -signal.SIGKILL})


def _folders() -> list[str]:
    """Return the folders with the operator's packages of this checkout."""
    return [str(ROOT / name) for name in ("sdk", "operator")]


def _main() -> None:
    """Fork for each line of the input, and report processes that start and end."""
    for library in (*_LIBRARIES, f"{_MODULE}.handlers"):
        importlib.import_module(library)
    output = os.fdopen(os.dup(1), "w", buffering=1)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    numbers: dict[int, int] = {}
    count, buffered = 0, b""
    while True:
        ready, _, _ = select.select([0, reader], [], [])
        if reader in ready:
            os.read(reader, 4096)
            _report_ended(numbers, output)
        if 0 in ready:
            data = os.read(0, 1 << 16)
            if not data:
                return
            *lines, buffered = (buffered + data).split(b"\n")
            for line in lines:
                nursery = os.getpid()
                pid = os.fork()
                if pid == 0:
                    output.close()
                    _become_operator(json.loads(line), nursery)
                numbers[pid] = count
                output.write(json.dumps({"number": count, "pid": pid}) + "\n")
                count += 1


def _report_ended(numbers: dict[int, int], output: IO[str]) -> None:
    while numbers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        output.write(json.dumps({"number": numbers.pop(pid), "code": code}) + "\n")


def _become_operator(request: dict[str, Any], nursery: int) -> None:
    """Run the operator in this process, which a fork has made, and end."""
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != nursery:  # it ended before the line above
        os._exit(1)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    random.seed()
    with open(request["log"], "ab") as log, open(os.devnull, "rb") as nothing:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        os.dup2(nothing.fileno(), 0)
    os.environ.update(request["environment"])
    tempfile.tempdir = None
    folders = request["environment"]["PYTHONPATH"].split(os.pathsep)
    if folders != _folders():
        for name in [name for name in sys.modules if name.partition(".")[0] in _OWN]:
            del sys.modules[name]
    sys.path[:0] = folders
    sys.argv = [_MODULE]
    code = 0
    try:
        runpy.run_module(_MODULE, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _main()
