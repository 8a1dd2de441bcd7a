"""Commands of the development environment, in the foreground or beside others."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from tools.suite.parts import ROOT

#: Time between two reads of the output of a command in the background (s).
_LOOK_SECONDS = 0.2


def words(command: Sequence[str]) -> list[str]:
    """Return the command line for the environment's program that the first word names, else for the module."""
    name, *arguments = command
    program = Path(sys.executable).with_name(name)
    return [str(program), *arguments] if program.exists() else [sys.executable, "-m", name, *arguments]


def foreground(command: Sequence[str], environment: Mapping[str, str] | None = None) -> bool:
    """Run a command, show its output immediately, and return whether it succeeded."""
    print(f"$ {shlex.join(command)}", flush=True)
    return subprocess.run(words(command), cwd=ROOT, env=environment, check=False).returncode == 0


class Background:
    """A command that runs at the same time as others. `finish` shows its output."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._output = NamedTemporaryFile()  # noqa: SIM115 - closed when its content is shown
        self._process = subprocess.Popen(
            words(command), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT
        )

    def finish(self) -> bool:
        """Wait for its end, show its output, and return whether it succeeded."""
        print(f"$ {shlex.join(self._command)}", flush=True)
        with self._output, Path(self._output.name).open("rb") as shown:
            code = None
            while code is None:
                try:
                    code = self._process.wait(_LOOK_SECONDS)
                except subprocess.TimeoutExpired:
                    pass  # it still runs
                sys.stdout.buffer.write(shown.read())
                sys.stdout.buffer.flush()
        return code == 0

    def stop(self) -> None:
        """End it, if it still runs."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
