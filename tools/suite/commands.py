"""Commands of the development environment, in the foreground or beside others."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile

from tools.suite.parts import ROOT


def words(command: Sequence[str]) -> list[str]:
    """Return a command line: of the environment's program of that name, else of the module."""
    name, *arguments = command
    program = Path(sys.executable).with_name(name)
    return [str(program), *arguments] if program.exists() else [sys.executable, "-m", name, *arguments]


def foreground(command: Sequence[str], environment: Mapping[str, str] | None = None) -> bool:
    """Run a command whose output is shown as it comes; whether it succeeded."""
    print(f"$ {shlex.join(command)}", flush=True)
    return subprocess.run(words(command), cwd=ROOT, env=environment, check=False).returncode == 0


class Background:
    """A command that runs beside others, and whose output is shown when it has ended."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._output = TemporaryFile()  # noqa: SIM115 - closed when its content is shown
        self._process = subprocess.Popen(
            words(command), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT
        )

    def finish(self) -> bool:
        """Wait for its end and show what it printed; whether it succeeded."""
        code = self._process.wait()
        with self._output as output:
            output.seek(0)
            print(f"$ {shlex.join(self._command)}", flush=True)
            sys.stdout.buffer.write(output.read())
            sys.stdout.buffer.flush()
        return code == 0

    def stop(self) -> None:
        """End it, if it still runs."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
