"""The text of the progress line.

``⠹ olivine-swan ━━━━━━━━━━━━━━━━━━━━ 12/40 · 4 running · 24 waiting · 1 failed · 2 workers · 0:12``
"""

from __future__ import annotations

import dataclasses

from flowcluster._output import terminal
from flowcluster.states import Tally

_SPINNER, _ASCII_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\"
_BAR, _LEAST_BAR = 20, 5
_DIM, _GREEN, _RED, _PLAIN = "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[0m"


@dataclasses.dataclass
class ProgressCounts:
    """The progress of a flow run and its subflow runs.

    Attributes:
        name: of the outermost flow run.
        seconds: since its beginning.
        done, completed, failed, cancelled: task runs that have ended; `done` also counts those that could not start.
        unfinished: task runs that have not ended.
        running: unfinished task runs that are being executed; None if that is not known.
        workers: workers of the runs' clusters.
        activity: what the run waits for before its tasks can run; None if it does not wait.
    """

    name: str
    seconds: float
    done: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    unfinished: int = 0
    running: int | None = 0
    workers: int = 0
    activity: str | None = None

    def add(self, tally: Tally, sign: int = 1) -> None:
        """Add a tally of ended runs; with ``-1`` as sign, subtract it."""
        self.done += sign * tally.total
        self.completed += sign * tally.completed
        self.failed += sign * tally.failed
        self.cancelled += sign * tally.cancelled


def progress_line(runs: list[ProgressCounts], number: int, width: int, colours: bool, unicode: bool) -> str:
    """Return the line for some flow runs.

    Args:
        runs: the flow runs.
        number: number of lines that were drawn before, for the spinner.
        width: columns of the terminal.
        colours: whether to use colours.
        unicode: whether to use characters outside of ASCII.
    """
    shown = runs[0] if len(runs) == 1 else _sum(runs)
    spinner = _SPINNER if unicode else _ASCII_SPINNER
    parts = [("", f"{spinner[number % len(spinner)]} {terminal.printable(shown.name)}")]
    details = _details(shown)
    total = shown.done + shown.unfinished
    if total:
        parts.append(("", f" {shown.done}/{total}"))
    parts += [(_RED if " failed" in detail else "", (" · " if unicode else " - ") + detail) for detail in details]
    left = width - sum(len(text) for _, text in parts) - 1
    if total and left >= _LEAST_BAR:
        size = min(left, _BAR)
        full = size * shown.done // total
        bar = ("━", "━") if unicode and colours else ("━", "─") if unicode else ("#", ".")
        parts[1:1] = [(_GREEN, " " + bar[0] * full), (_DIM, bar[1] * (size - full))]
    return _fitted(parts, width, colours)


def _details(shown: ProgressCounts) -> list[str]:
    details = []
    if shown.unfinished and shown.running is not None:
        # The two numbers are not read at the same time, and runs begin and end in between.
        running = min(shown.running, shown.unfinished)
        details += [f"{running} running", f"{shown.unfinished - running} waiting"]
    elif shown.unfinished:
        details.append(f"{shown.unfinished} unfinished")
    if shown.failed:
        details.append(f"{shown.failed} failed")
    if shown.cancelled:
        details.append(f"{shown.cancelled} cancelled")
    if (never := shown.done - shown.completed - shown.failed - shown.cancelled) > 0:
        details.append(f"{never} not started")
    if shown.activity:
        details.append(shown.activity)
    if shown.workers:
        details.append(f"{shown.workers} worker{'s' if shown.workers > 1 else ''}")
    return [*details, duration(shown.seconds)]


def duration(seconds: float) -> str:
    """Return a duration as text: ``0:07``, ``12:03``, ``1:00:00``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _sum(runs: list[ProgressCounts]) -> ProgressCounts:
    total = ProgressCounts(f"{len(runs)} flow runs", max(run.seconds for run in runs))
    for run in runs:
        for field in ("done", "completed", "failed", "cancelled", "unfinished", "workers"):
            setattr(total, field, getattr(total, field) + getattr(run, field))
        total.running = None if total.running is None or run.running is None else total.running + run.running
        total.activity = total.activity or run.activity
    return total


def _fitted(parts: list[tuple[str, str]], width: int, colours: bool) -> str:
    text = ""
    for colour, part in parts:
        shown = part[:width]
        width -= len(shown)
        text += f"{colour}{shown}{_PLAIN}" if colours and colour else shown
    return text
