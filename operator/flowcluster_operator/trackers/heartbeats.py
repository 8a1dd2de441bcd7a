"""How long ago the last heartbeat of each driver and keeper was, by a monotonic clock of this process.

The times in the Leases do not count, because the clocks of machines differ and can be set. A new process counts from
its own start, because it does not know which heartbeats came before.
"""

from __future__ import annotations

import dataclasses

from flowcluster_operator.model.identity import RunId

#: Maximum seconds between two confirmations by the API server, if both are to count as one period without a gap.
_GAP_SECONDS = 3.0


@dataclasses.dataclass
class _Heartbeat:
    """The last renewal: its time in the Lease, when it was first seen, and the first and last confirmation of it."""

    renewed: str | None
    since: float
    confirmed: tuple[float, float] | None = None


class HeartbeatTracker:
    """The last heartbeats, by run. `now` is in seconds."""

    def __init__(self) -> None:
        self._heartbeats: dict[RunId, _Heartbeat] = {}

    def silent_for(self, key: RunId, renewed: str | None, now: float) -> float:
        """Return the seconds since this process first saw this renewal.

        Args:
            key: the run.
            renewed: the renewTime in the Lease; None before the first renewal.
            now: the time.
        """
        known = self._heartbeats.get(key)
        if known is None or known.renewed != renewed:
            known = self._heartbeats[key] = _Heartbeat(renewed, now)
        return now - known.since

    def confirmed_for(self, key: RunId, now: float) -> float:
        """Record that the API server has no newer renewal; return for how many seconds it has, without a gap."""
        known = self._heartbeats[key]
        first, last = known.confirmed or (now, now)
        if now - last > _GAP_SECONDS:
            first = now
        known.confirmed = first, now
        return now - first

    def forget(self, key: RunId) -> None:
        """Forget a run that is gone."""
        self._heartbeats.pop(key, None)
