"""Lines that tasks print stay whole among lines of other tasks and of the log."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import unmeasured

PROGRAM = Path(__file__).parent / "flows" / "greetings_many_times.py"
LOGGED = re.compile(r"\d\d:\d\d:\d\d\.\d\d\d \| ")
NAMES = ("arthur", "trillian", "ford", "marvin")


def piped(command: list[str], environment: dict[str, str]) -> str:
    """Return what a program writes to one pipe, as stdout and stderr."""
    return subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=True
    ).stdout


def in_terminal(command: list[str], environment: dict[str, str]) -> str:
    """Return what a program writes to a terminal."""
    main, other = pty.openpty()
    process = subprocess.Popen(command, env=environment, stdin=other, stdout=other, stderr=other)
    os.close(other)
    written = b""
    try:
        while data := os.read(main, 65536):
            written += data
    except OSError:
        pass  # the program has ended
    os.close(main)
    assert process.wait(120) == 0
    return written.decode()


@pytest.mark.parametrize(("kind", "show"), [("threads", piped), ("threads", in_terminal), ("dask", piped)])
def test_greetings_are_whole_lines(kind: str, show: Callable[..., str]) -> None:
    """The program prints 200 times eight lines, by one `print` or two each, with log lines between them."""
    environment = {**unmeasured.environment(), "TERM": "xterm", "FLOWCLUSTER_PROGRESS": "0"}

    lines = show([sys.executable, str(PROGRAM), kind, "200"], environment).splitlines()

    greetings = Counter(line for line in lines if not LOGGED.match(line))
    assert greetings == {f"{word} {name}": 200 for word in ("hello", "goodbye") for name in NAMES}
