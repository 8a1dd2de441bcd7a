"""Run other programs. An error contains the program's output."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tools.cluster.errors import ToolError

TAIL_LINES = 25


def search_path() -> str:
    """Return this process's PATH with the folders of system programs, which a user's own PATH can lack."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([*folders, "/usr/local/sbin", "/usr/sbin", "/sbin"]))


def find(program: str) -> Path | None:
    """Return the path of a program in `search_path`, or None."""
    found = shutil.which(program, path=search_path())
    return Path(found) if found else None


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    hint: str = "",
) -> str:
    """Run a program to its end and return its standard output.

    Args:
        argv: program and arguments.
        cwd: working directory.
        stdin: standard input.
        env: added to this process's environment.
        hint: what the user can do when it fails, as the last line of the error.

    Raises:
        ToolError: the program is missing or exits non-zero. The message has the last lines that it printed.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            env={**os.environ, "PATH": search_path(), **(env or {})},
            cwd=cwd,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        raise ToolError(f"{words[0]} is not installed, or not on PATH. {hint}".strip()) from None
    if done.returncode != 0:
        raise _failed(words, done.returncode, (done.stdout + done.stderr).strip().splitlines(), hint)
    return done.stdout


def follow(
    argv: Sequence[str | Path],
    on_line: Callable[[str], None],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    hint: str = "",
) -> None:
    """Run a program to its end and pass each line that it prints, on stdout or stderr, to ``on_line``.

    Args:
        argv: program and arguments.
        on_line: receives each line.
        cwd: working directory.
        env: added to this process's environment.
        hint: what the user can do when it fails, as the last line of the error.

    Raises:
        ToolError: the program exits non-zero. The message has the last lines that it printed.
    """
    words = [str(word) for word in argv]
    last: deque[str] = deque(maxlen=TAIL_LINES)
    with subprocess.Popen(
        words,
        env={**os.environ, "PATH": search_path(), **(env or {})},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            last.append(line.rstrip())
            on_line(line.rstrip())
    if running.returncode != 0:
        raise _failed(words, running.returncode, list(last), hint)


def _failed(words: Sequence[str], code: int, lines: Sequence[str], hint: str) -> ToolError:
    printed = "\n".join(lines[-TAIL_LINES:])
    return ToolError(f"`{shlex.join(words)}` exited {code}:\n{printed}\n{hint}".strip())


def succeeds(argv: Sequence[str | Path]) -> bool:
    """Return whether a program exists and exits 0. Its output is discarded."""
    words = [str(word) for word in argv]
    if find(words[0]) is None:
        return False
    environment = {**os.environ, "PATH": search_path()}
    return subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def wait_until(
    condition: Callable[[], bool],
    *,
    seconds: float,
    what: str,
    every: float = 0.05,
    explain: Callable[[], str] = lambda: "",
) -> None:
    """Wait for a condition with a deadline.

    Args:
        condition: what must become true.
        seconds: the deadline (s).
        what: name of what the condition waits for, for the error.
        every: time between two calls of the condition (s).
        explain: returns, after a timeout, what is known about the cause.

    Raises:
        ToolError: the condition was still false after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ToolError(f"timeout after {seconds:.0f} s of waiting for {what}. {explain()}".strip())
        time.sleep(every)
