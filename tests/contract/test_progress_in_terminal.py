"""The progress line in a terminal: it is drawn while a flow runs, below whole lines, and erased at the end."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.meeting import Gate

FLOWS = Path(__file__).with_name("flows") / "shown.py"

ROWS = 24
DRAWN = re.compile(rb"\x1b7\x1b\[1;23r\x1b\[24;1H\x1b\[0m\x1b\[2K\x1b\[\?7l(.*?)\x1b\[\?7h\x1b8", re.DOTALL)
ROOM, BACK = b"\x1bD\x1b[A", b"\x1b7\x1b[r\x1b[24;1H\x1b[0m\x1b[2K\x1b8"


class Program:
    """`flowcluster run` in a pseudo-terminal of its own."""

    def __init__(self, arguments: list[str], **streams: Any) -> None:
        self.seen = b""
        self._deadline = time.monotonic() + 60
        self._person, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, 150, 0, 0))

        def take_terminal() -> None:
            fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

        # Unbuffered, a program writes a line and its line end separately, and other output comes between them.
        others = ("CI", "NO_COLOR", "PYTHONUNBUFFERED")
        environment = {name: value for name, value in os.environ.items() if name not in others}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flowcluster.cli.main", "run", *arguments],
            env={**environment, "PYTHONFAULTHANDLER": "1", "TERM": "xterm", "PYTHONIOENCODING": "utf-8"},
            start_new_session=True,
            preexec_fn=take_terminal,
            **{"stdin": terminal, "stdout": terminal, "stderr": terminal, **streams},
        )
        os.close(terminal)

    def read(self) -> bool:
        """Read what comes next, and return False at the end."""
        if time.monotonic() > self._deadline and self.process.poll() is None:
            self._deadline = float("inf")
            self.process.send_signal(signal.SIGABRT)  # it prints the stacks of its threads
            self.to_the_end()
            pytest.fail(f"The program did not get there:\n{self.seen.decode()}")
        if not select.select([self._person], [], [], 1)[0]:
            return True
        try:
            data = os.read(self._person, 65536)
        except OSError:  # every program has closed the terminal
            return False
        self.seen += data
        return bool(data)

    def until(self, text: str) -> None:
        """Read until the progress line contains `text`."""
        while not any(text in shown for shown in self.lines()):
            assert self.read(), self.seen

    def to_the_end(self) -> int:
        """Read the rest, and return the exit code."""
        while self.read():
            pass
        return self.process.wait(60)

    def type(self, keys: bytes) -> None:
        """Type keys in the terminal."""
        os.write(self._person, keys)

    def lines(self) -> list[str]:
        """Return what the progress line showed, one item for each time it was drawn, without colours."""
        return [re.sub(r"\x1b\[\d*m", "", shown.decode()) for shown in DRAWN.findall(self.seen)]

    def rest(self) -> list[str]:
        """Return all other lines that were written."""
        return DRAWN.sub(b"", self.seen).replace(ROOM, b"").replace(BACK, b"").decode().splitlines()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._person)


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    """Programs to be closed at the end."""
    started: list[Program] = []
    yield started
    for program in started:
        program.close()


@pytest.fixture
def flows() -> str:
    """A file of flows."""
    return str(FLOWS)


def assert_nothing_is_left(program: Program) -> None:
    """Assert that the row was erased after the last drawing, and that all else is whole lines without escapes."""
    assert program.seen.count(BACK) == program.seen.count(ROOM) == 1
    assert program.seen.rindex(BACK) > program.seen.rindex(b"\x1b[?7h")
    assert not any("\x1b" in line for line in program.rest())


def test_progress_line_counts_the_whole_tree_of_runs_and_is_erased(
    flows: str, gate: Any, programs: list[Program]
) -> None:
    """The counts include subflows and child runs, lines above are whole, and the row is erased at the end."""
    program = Program([f"{flows}:waits", "-p", f"gate={gate.address}"])
    programs.append(program)
    program.until("3/5 · 1 running · 1 waiting · 1 failed · 0:0")
    gate.open()

    assert program.to_the_end() == 1  # the child has failed
    assert_nothing_is_left(program)
    rest = program.rest()
    assert "through the gate" in rest
    assert rest.count("so far so good") == 3
    log = re.compile(r"\d\d:\d\d:\d\d\.\d{3} \| (INFO |ERROR)   \| .* - .*")
    assert len([line for line in rest if log.fullmatch(line)]) == len([line for line in rest if " | " in line])
    assert all(re.match(r". [a-z]+-[a-z]+ ━{20} \d/\d ", line) for line in program.lines())


@pytest.mark.parametrize(("end", "code"), [("interrupt", 3), ("terminate", 3), ("raise", 1)])
def test_progress_line_is_erased_however_the_run_ends(
    flows: str, gate: Any, programs: list[Program], end: str, code: int
) -> None:
    """Ctrl-C, SIGTERM and an exception erase the row as a normal end does."""
    how = "badly" if end == "raise" else "well"
    program = Program([f"{flows}:waits", "-p", f"gate={gate.address}", "-p", f"how={how}"])
    programs.append(program)
    program.until("1 running")
    if end == "interrupt":
        program.type(b"\x03")
    elif end == "terminate":
        program.process.terminate()
    else:
        gate.open()

    assert program.to_the_end() == code
    assert_nothing_is_left(program)


def test_progress_line_shows_the_cluster_and_its_workers(flows: str, programs: list[Program]) -> None:
    """The line first shows that the cluster is created, then the number of workers and of running tasks."""
    with Gate() as one, Gate() as two, Gate() as three:
        gates = [one, two, three]
        program = Program([f"{flows}:on_dask", "-p", f"gates={json.dumps([gate.address for gate in gates])}"])
        programs.append(program)
        program.until("2 running · 1 waiting · 2 workers")
        for gate in gates:
            gate.open()
        assert program.to_the_end() == 0

    assert_nothing_is_left(program)
    assert program.rest().count("through the gate") == 3
    making = [line for line in program.lines() if "creating a Dask cluster" in line]
    assert all(re.search(r"creating a Dask cluster \(\d+ s\)", line) for line in making)


def test_piped_output_is_untouched(flows: str, gate: Any, programs: list[Program]) -> None:
    """When stdout is a pipe, it gets only what the flow prints, and the terminal shows the line."""
    program = Program([f"{flows}:waits", "-p", f"gate={gate.address}"], stdout=subprocess.PIPE)
    programs.append(program)
    program.until("1 running")
    gate.open()
    assert program.process.stdout is not None
    printed = program.process.stdout.read()
    program.to_the_end()
    program.process.stdout.close()

    assert printed == b"so far so good\nso far so good\nthrough the gate\nso far so good\n"
    assert_nothing_is_left(program)


def test_short_flow_draws_no_progress_line(flows: str, programs: list[Program]) -> None:
    """A flow of less than two seconds writes no escape."""
    program = Program([f"{flows}:parent_of_short"])
    programs.append(program)

    assert program.to_the_end() == 0
    assert b"so far so good" in program.seen
    assert b"\x1b" not in program.seen


def test_piped_stderr_gets_no_escape(gate: Any) -> None:
    """A log file has lines only, however long the flow runs, and no module for terminals is imported."""
    program = (
        f"import sys, threading; sys.path.insert(0, {str(FLOWS.parent)!r})\n"
        "from shown import waits\n"
        "import flowcluster.engine.progress_display as progress\n"
        "progress.DELAY = 0\n"
        f"waits({gate.address!r}, return_state=True)\n"
        "print(*[name for name in ('rich', 'curses') if name in sys.modules])\n"
        "print(*[thread.name for thread in threading.enumerate() if 'progress' in thread.name])\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        gate.open()
        printed, errors = process.communicate(timeout=60)

    assert b"\x1b" not in printed + errors
    assert printed.splitlines()[-2:] == [b"", b""]
