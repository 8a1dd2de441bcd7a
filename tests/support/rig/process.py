"""A child process with a log, which ends with its parent."""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
from collections.abc import Mapping, Sequence

#: The checkout.
ROOT = pathlib.Path(__file__).resolve().parents[3]
#: The kernel kills the child when the thread that started it ends, for any reason.
_BOUND = ("setpriv", "--pdeathsig", "KILL", "--")
_STOP_SECONDS = 10.0
#: Go programs collect garbage a quarter as often as by default, which took half of the API server's CPU time.
_GO = {"GOGC": "400"}
_TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Return a TCP port of the loopback interface at which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class CpuAndMemory:
    """The usage of a process.

    Attributes:
        pid: its process ID.
    """

    pid: int

    def cpu_seconds(self) -> float:
        """Return the CPU seconds, user and system, that it has used."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self) -> int:
        """Return its resident memory in bytes."""
        pages = pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


class Child(CpuAndMemory):
    """A program that runs beside the tests.

    Args:
        name: for messages.
        command: program and arguments.
        log: file that its output is appended to.
        environment: added to this process's environment.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | pathlib.Path],
        log: pathlib.Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.log_file = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*_BOUND, *map(str, command)],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **_GO, **(environment or {})},
                cwd=ROOT,
            )
        self.pid = self._process.pid

    def check(self) -> None:
        """Raise AssertionError with the end of its log if the process has ended."""
        code = self._process.poll()
        assert code is None, f"{self.name} ended with {code}:\n{self.log()[-3000:]}"

    def log(self) -> str:
        """Return all that it has printed."""
        return self.log_file.read_text(errors="replace")

    def wait(self, seconds: float | None = None) -> int:
        """Wait for its end and return its exit code."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        self._process.wait()

    def signal_kill(self) -> None:
        """Send SIGKILL and return."""
        self._process.kill()

    def stop(self) -> None:
        """End it with SIGTERM, and with SIGKILL if it does not end."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
