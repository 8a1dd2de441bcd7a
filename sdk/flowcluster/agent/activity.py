"""The activity that an agent reports with each heartbeat: counts of task runs, and seconds of idleness."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from flowcluster.agent.protocol import Counted
from flowcluster_api.progress import Progress, Tasks

#: Seconds of idleness after which new work is reported immediately: the operator can be about to end the run.
WAKE_SECONDS = 10.0


class _Source(NamedTuple):
    """The last observation of one source of work.

    Attributes:
        marker: a value that changes with each piece of work, even between two observations.
        busy: the time of the last observation of work.
        seen: the time of the last observation.
    """

    marker: object
    busy: float
    seen: float


class Activity:
    """Combines two sources of work: the driver's counts of task runs, and the scheduler or head of its cluster.

    A source can have new work since its last observation, so idleness counts up to that observation only.

    Args:
        needs_scheduler: whether idleness needs observations of a scheduler. Clients can use a Dask cluster without task
            runs. For other runs the driver's counts are sufficient.
        wake: called when there is work after `WAKE_SECONDS` of idleness.
        clock: returns the time in seconds.
    """

    def __init__(
        self, needs_scheduler: bool, wake: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._needed = "scheduler" if needs_scheduler else "driver"
        self._wake, self._clock = wake, clock
        self._counts: Counted | None = None
        self._sources: dict[str, _Source] = {}

    def record_counts(self, counts: Counted) -> None:
        """Record the counts of the driver."""
        self._counts = counts
        self._record("driver", counts.unfinished > 0, (counts.total, counts.completed, counts.failed))

    def record_scheduler(self, is_busy: bool, transitions: int) -> None:
        """Record an observation of the scheduler, or of the head of a shared Ray cluster.

        Args:
            is_busy: whether it has work.
            transitions: a number that grows with each piece of work, such as the transitions of a scheduler's tasks.
        """
        self._record("scheduler", is_busy, transitions)

    def progress(self) -> Progress | None:
        """Return the progress to report; None before the first observation."""
        counts, idle = self._counts, self.idle()
        tasks = Tasks(counts.total, counts.running, counts.completed, counts.failed) if counts is not None else None
        return None if tasks is None and idle is None else Progress(tasks, idle)

    def idle(self) -> int | None:
        """Return the seconds of idleness; None before the first observation of the required source."""
        if self._needed not in self._sources:
            return None
        seen = min(source.seen for source in self._sources.values())
        return max(int(seen - self._last_busy()), 0)

    def _record(self, name: str, is_busy: bool, marker: object) -> None:
        now, known = self._clock(), self._sources.get(name)
        if known is not None and not is_busy and marker == known.marker:
            self._sources[name] = known._replace(seen=now)
            return
        was_idle = known is not None and now - self._last_busy() >= WAKE_SECONDS
        self._sources[name] = _Source(marker, now, now)
        if was_idle:
            self._wake()

    def _last_busy(self) -> float:
        return max(source.busy for source in self._sources.values())
