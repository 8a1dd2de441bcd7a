"""Programs that run at the same time as a tool. Each line of their output is shown with a prefix."""

from __future__ import annotations

import pathlib
import subprocess
from collections.abc import Mapping, Sequence

from tools.cluster.errors import ToolError

ROOT = pathlib.Path(__file__).resolve().parent.parent
#: Seconds for a program to end by itself.
_SECONDS = 300
#: Seconds for a program to end after a signal.
_STOP_SECONDS = 10


class Output:
    """A program that runs at the same time as the tool. Its lines are shown with a prefix."""

    def __init__(self, command: Sequence[str], prefix: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT, env=environment
        )
        # sed buffers nothing with -u.
        self._sed = subprocess.Popen(["sed", "-u", f"s/^/{prefix}/"], stdin=self._process.stdout)
        assert self._process.stdout is not None
        self._process.stdout.close()  # sed reads from it

    @property
    def has_ended(self) -> bool:
        """Whether the program has ended. Its last lines can still follow."""
        return self._process.poll() is not None

    def wait(self) -> int:
        """Return the exit code once the last line is shown."""
        try:
            code = self._process.wait(_SECONDS)
            self._sed.wait(_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise ToolError(f"a program did not end within {_SECONDS} s: {error.cmd}") from None
        return code

    def stop(self) -> None:
        """End the program if it runs. A Python program releases its cluster."""
        if not self.has_ended:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self.wait()
