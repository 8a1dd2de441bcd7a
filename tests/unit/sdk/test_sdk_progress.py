"""The progress line: when it is shown, its text, and how it stays in the last row."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import sys
import termios
from collections.abc import Iterator
from typing import Any

import pytest

from flowcluster import states
from flowcluster._output import terminal
from flowcluster._output.progress_line import ProgressCounts, duration, progress_line


@pytest.fixture
def tty(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """Return a terminal's two ends: the user reads from one, the program writes to the other."""
    person, program = pty.openpty()
    fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    monkeypatch.setenv("TERM", "xterm")
    for name in ("CI", "NO_COLOR", terminal.ENV_PROGRESS):
        monkeypatch.delenv(name, raising=False)
    yield person, program
    os.close(person)
    os.close(program)


@pytest.mark.parametrize(
    ("environment", "is_wanted"),
    [
        ({}, True),
        ({"FLOWCLUSTER_PROGRESS": "0"}, False),
        ({"CI": "true"}, False),
        ({"CI": "false"}, True),
        ({"CI": "true", "FLOWCLUSTER_PROGRESS": "1"}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": "dumb", "FLOWCLUSTER_PROGRESS": "1"}, False),
        ({"TERM": ""}, False),
        ({"NO_COLOR": "1"}, True),
    ],
)
def test_environment_selects_whether_the_line_is_shown(
    tty: tuple[int, int], environment: dict[str, str], is_wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal shows it, but not in a build service, and never when the terminal cannot move its cursor."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with open(tty[1], "w", closefd=False) as stream, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stream)
        usable = terminal.usable()

    assert usable == (tty[1] if is_wanted else None)


def test_colours_are_off_when_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any text in `NO_COLOR` switches colours off."""
    monkeypatch.setenv("NO_COLOR", "")
    allowed = terminal.has_colours()
    monkeypatch.setenv("NO_COLOR", "1")

    assert (allowed, terminal.has_colours()) == (True, False)


class LikeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [None, io.StringIO(), LikeTerminal()])
def test_stream_that_is_not_a_terminal_gets_no_line(
    tty: tuple[int, int], stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe, no stderr, and an object like a terminal (in a notebook) get no line, even when the user requests it."""
    monkeypatch.setenv(terminal.ENV_PROGRESS, "1")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stream)
        usable = terminal.usable()

    assert usable is None


def read(person: int, ending: str) -> str:
    """Return the text that the terminal shows, up to this ending."""
    seen = b""
    while not seen.endswith(ending.encode()):
        seen += os.read(person, 1000)
    return seen.decode()


def test_row_is_reserved_and_released(tty: tuple[int, int]) -> None:
    """The line uses the last row, and the others scroll above it. In the end, the whole screen scrolls again."""
    person, program = tty
    row = terminal.LastRow(program)
    row.clear()
    row.show("one")
    row.show("two")
    row.clear()
    row.clear()

    def drawn(text: str) -> str:
        return f"\x1b7\x1b[1;23r\x1b[24;1H\x1b[0m\x1b[2K\x1b[?7l{text}\x1b[?7h\x1b8"

    room, back = "\x1bD\x1b[A", "\x1b7\x1b[r\x1b[24;1H\x1b[0m\x1b[2K\x1b8"
    assert read(person, back) == room + drawn("one") + drawn("two") + back


def test_row_follows_the_terminals_size(tty: tuple[int, int]) -> None:
    """A terminal that grows gets its old row back first. A terminal that is too small has no row for the line."""
    person, program = tty
    row = terminal.LastRow(program)
    row.show("one")
    fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    row.show("two")
    fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", 3, 100, 0, 0))
    row.show("three")
    os.write(program, b"the end")
    seen = read(person, "the end")

    assert seen.index("\x1b[r\x1b[24;1H") < seen.index("\x1b[1;29r\x1b[30;1H") < seen.index("two")
    assert "three" not in seen
    assert row.width == 100


def test_row_ignores_that_its_terminal_is_closed(tty: tuple[int, int]) -> None:
    """A closed terminal causes no error in the program."""
    row = terminal.LastRow(os.open(os.devnull, os.O_WRONLY))
    row.show("one")
    row.clear()

    assert row.width == 0


def plain(*runs: ProgressCounts, width: int = 120, unicode: bool = True) -> str:
    return progress_line(list(runs), 0, width, False, unicode)


def test_line_shows_the_counts_of_the_run() -> None:
    """Name, bar, ended of all, running, waiting, failed, workers, time. Counts of zero are omitted."""
    full = ProgressCounts("olivine-swan", 12.3, done=12, completed=11, failed=1, unfinished=28, running=4, workers=2)

    assert plain(full) == (
        "⠋ olivine-swan ━━━━━━────────────── 12/40 · 4 running · 24 waiting · 1 failed · 2 workers · 0:12"
    )
    assert plain(full, unicode=False).startswith("| olivine-swan ######.............. 12/40 - 4 running")
    assert plain(ProgressCounts("a-b", 3)) == "⠋ a-b · 0:03"
    assert plain(ProgressCounts("a-b", 3, done=2, completed=2)) == "⠋ a-b ━━━━━━━━━━━━━━━━━━━━ 2/2 · 0:03"


def test_line_shows_only_known_counts() -> None:
    """Tasks are "unfinished" when the runner has no count of running ones. Other ends than failures have own words."""
    assert "3/5 · 2 unfinished · 1 cancelled · 2 not started · 0:03" in plain(
        ProgressCounts("a-b", 3, done=3, cancelled=1, unfinished=2, running=None)
    )
    assert plain(ProgressCounts("a-b", 3, activity="creating a Dask cluster (3 s)")) == (
        "⠋ a-b · creating a Dask cluster (3 s) · 0:03"
    )
    # The counts change while they are read: the line never shows more running than unfinished tasks.
    assert "1 running · 0 waiting" in plain(ProgressCounts("a-b", 3, unfinished=1, running=2))


def test_line_is_not_longer_than_its_row() -> None:
    """The line gets shorter with the terminal. A name cannot move the cursor."""
    shown = ProgressCounts("olivine-swan", 3, done=1, completed=1, unfinished=1)

    for width in range(100):
        assert len(plain(shown, width=width)) <= width
    assert "━" * 10 + "─" * 10 in plain(shown, width=100)
    assert "━" * 3 + "─" * 3 in plain(shown, width=57)
    assert plain(ProgressCounts("a\x1b[2Jb\n", 3)) == "⠋ a?[2Jb? · 0:03"


def test_line_has_colours_when_they_are_on() -> None:
    """Failures are red. Without colours, the text has no escape sequence."""
    shown = ProgressCounts("a-b", 3, done=1, failed=1, unfinished=1)

    assert "\x1b[31m · 1 failed\x1b[0m" in progress_line([shown], 0, 100, True, True)
    assert "\x1b" not in plain(shown)


def test_line_has_the_sum_of_the_flow_runs() -> None:
    """Several outermost runs at a time share the line."""
    one, other = (
        ProgressCounts("a-b", 3, done=1, completed=1, running=0),
        ProgressCounts("c-d", 9, unfinished=2, running=1, workers=1),
    )

    assert plain(one, other, width=80).endswith(" 1/3 · 1 running · 1 waiting · 1 worker · 0:09")
    assert plain(one, other).startswith("⠋ 2 flow runs ")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (7.9, "0:07"), (723, "12:03"), (3600, "1:00:00")])
def test_duration_is_minutes_and_seconds(seconds: float, text: str) -> None:
    """Longer durations have hours, too."""
    assert duration(seconds) == text


def test_counts_can_be_subtracted() -> None:
    """Runs that a parent counted twice are subtracted."""
    tally = states.Tally()
    for state in (states.completed(), states.failed("no"), states.cancelled("no")):
        tally.add(state)
    shown = ProgressCounts("a-b", 0)
    shown.add(tally)
    assert (shown.done, shown.completed, shown.failed, shown.cancelled) == (3, 1, 1, 1)
    shown.add(tally, -1)
    assert shown == ProgressCounts("a-b", 0)
