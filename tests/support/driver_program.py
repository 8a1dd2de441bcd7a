"""A program with a cluster of its own, which evaluates the expressions that a test sends, line by line."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.support.programs.cluster_owner import MARK

#: Duration of the program's lease (s).
LEASE_SECONDS = 10
#: Time in which it must release its cluster at its end (s).
_END_SECONDS = 30

_PROGRAM = Path(__file__).with_name("programs") / "cluster_owner.py"


class DriverProgram:
    """The program and its answers.

    The names in its expressions are those of `tests.support.programs.cluster_owner`: `cluster`, `submit` (a function
    and its arguments, for a worker), `result`, `is_connected`, `first` (a result that it holds), and others.
    """

    def __init__(self, kind: str, kubeconfig: str | Path, namespace: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(_PROGRAM), kind, str(LEASE_SECONDS), str(kubeconfig), namespace],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @classmethod
    @contextmanager
    def start(cls, kind: str, kubeconfig: str | Path, namespace: str) -> Iterator[DriverProgram]:
        """Start a program that gets a cluster of this kind with one worker.

        At the end of the block it ends by itself, and is killed only if it does not.
        """
        program = cls(kind, kubeconfig, namespace)
        try:
            yield program
        finally:
            with suppress(subprocess.TimeoutExpired):
                program._process.communicate(timeout=_END_SECONDS)
            program._process.kill()
            program._process.communicate()

    def wait_until_ready(self) -> None:
        """Wait until it has its cluster, and has done some work there."""
        assert self.answer() == "3"

    def tell(self, expression: str) -> None:
        """Send an expression to evaluate."""
        assert self._process.stdin is not None
        self._process.stdin.write(expression + "\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        """Return the answer to the oldest expression without one: its value as text, or its error."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(MARK):
                return line.removeprefix(MARK).strip()
        raise AssertionError("the program ended without an answer")

    def ask(self, expression: str) -> str:
        """Send an expression, and return its answer."""
        self.tell(expression)
        return self.answer()

    def send_signal(self, number: int) -> None:
        """Send the program a signal."""
        self._process.send_signal(number)

    def kill_with_agent(self) -> None:
        """Kill it and its agent, so that no process is left to report the end."""
        for process in (*self.agents(), psutil.Process(self._process.pid)):
            process.send_signal(signal.SIGKILL)
        self._process.wait()

    def agents(self) -> list[psutil.Process]:
        """Return its agents that run."""
        children = psutil.Process(self._process.pid).children()
        return [
            one for one in children if one.status() != psutil.STATUS_ZOMBIE and "flowcluster.agent" in one.cmdline()
        ]
