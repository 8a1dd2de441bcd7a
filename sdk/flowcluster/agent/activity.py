"""What the driver does, as its agent reports it with each heartbeat."""

from __future__ import annotations

from flowcluster.agent.messages import Counted
from flowcluster_api.progress import Progress, Tasks


class Activity:
    """The last counts of the driver's task runs."""

    def __init__(self) -> None:
        self._counts: Counted | None = None

    def counted(self, counts: Counted) -> None:
        """Take in the counts of the driver."""
        self._counts = counts

    def progress(self) -> Progress | None:
        """Return what to report; None before there is something."""
        if self._counts is None:
            return None
        return Progress(Tasks(self._counts.total, self._counts.running, self._counts.completed, self._counts.failed))
