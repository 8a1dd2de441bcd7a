"""Processes identified by pid and start time, so that a reused pid is never mistaken for one of ours."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


def boot_id() -> str:
    """Return an id that changes with every boot of the machine."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True)
class Process:
    """One process of this machine: its pid, and its start time in clock ticks since boot."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """Return the process that has this pid now, or None. A zombie does not count."""
        stat = _stat(pid)
        return None if stat is None or stat[0] == "Z" else cls(pid, int(stat[19]))

    def alive(self) -> bool:
        """Return whether this process still runs."""
        return Process.of(self.pid) == self

    def kill(self) -> None:
        """Send SIGKILL, unless the process has ended."""
        if self.alive():
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended between the check and the signal

    def children(self) -> list[Process]:
        """Return its living direct children."""
        return [process for process, parent in _table() if parent == self.pid]

    def descendants(self) -> list[Process]:
        """Return its living children, their children, and so on."""
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
        """Return its pid in its own process namespace, or 0 if it has ended."""
        try:
            status = (PROC / str(self.pid) / "status").read_text()
        except OSError:
            return 0
        line = next((line for line in status.splitlines() if line.startswith("NSpid:")), "NSpid: 0")
        return int(line.split()[-1])


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the third (state) on: the second can contain any character."""
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
