"""Processes told apart by pid and start time, so that a reused pid is never taken for ours."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


def boot_id() -> str:
    """What changes with every boot of the machine."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True)
class Process:
    """One process of this machine, for good: pid, and start time in clock ticks since boot."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this pid now, or None when there is none (a zombie is none)."""
        stat = _stat(pid)
        return None if stat is None or stat[0] == "Z" else cls(pid, int(stat[19]))

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return Process.of(self.pid) == self

    def kill(self) -> None:
        """Send SIGKILL, unless it is gone already."""
        if self.alive():
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended between the look and the signal

    def children(self) -> list[Process]:
        """Its living direct children."""
        return [process for process, parent in _table() if parent == self.pid]

    def descendants(self) -> list[Process]:
        """Its living children, their children, and so on."""
        below: dict[int, list[Process]] = {}
        for process, parent in _table():
            below.setdefault(parent, []).append(process)
        found: list[Process] = []
        queue = [self.pid]
        while queue:
            children = below.get(queue.pop(), [])
            found += children
            queue += [child.pid for child in children]
        return found

    def inner_pid(self) -> int:
        """The pid it has in its own process namespace; 0 when it is gone."""
        try:
            status = (PROC / str(self.pid) / "status").read_text()
        except OSError:
            return 0
        line = next((line for line in status.splitlines() if line.startswith("NSpid:")), "NSpid: 0")
        return int(line.split()[-1])


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third (state) on: the second may hold anything."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _table() -> Iterator[tuple[Process, int]]:
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            stat = _stat(int(entry.name))
            if stat is not None and stat[0] != "Z":
                yield Process(int(entry.name), int(stat[19])), int(stat[1])
