"""What the operator knows of the driver of a run, or of the keeper of a shared cluster, from its Lease."""

from __future__ import annotations

from typing import NamedTuple

from flowcluster_api.driver import Outcome
from flowcluster_api.lease import Demand
from flowcluster_api.progress import Progress


class DriverHeartbeat(NamedTuple):
    """The last heartbeat of a driver or keeper. All times are seconds of this process's monotonic clock.

    Attributes:
        holder: the holder identity of the Lease; None before the first renewal.
        outcome: how the driver ended, as it reports; None while it runs.
        silent_for: time since this process first saw the last renewal, or the Lease itself.
        confirmed_for: time for which the API server has confirmed, without a gap, that there is no newer renewal.
        demand: the workers that it requests; None where it does not report them.
        progress: its work at the last heartbeat; None where it does not report it.
        idle_confirmed_for: time for which the API server has confirmed, without a gap, that the driver or keeper
        reports
            more seconds without work than the spec allows.
    """

    holder: str | None
    outcome: Outcome | None
    silent_for: float
    confirmed_for: float
    demand: Demand | None = None
    progress: Progress | None = None
    idle_confirmed_for: float = 0.0
