"""How long the number of workers of each cluster has been stable, by a monotonic clock of this process.

A number that this process sees for the first time counts as just changed: it can have changed before the process began.
"""

from __future__ import annotations

import dataclasses
import math

from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.workers import ReplicaStability


@dataclasses.dataclass
class _Replicas:
    observed: int
    requested: int
    since: float
    lowered: float = -math.inf


class ReplicaStabilityTracker:
    """The last numbers of workers, by run. `now` is in seconds."""

    def __init__(self) -> None:
        #: By worker group of each run or shared cluster; the workers of `spec.workers` have the empty name.
        self._replicas: dict[RunId, dict[str, _Replicas]] = {}

    def record(self, key: RunId, observed: int, requested: int, now: float, group: str = "") -> ReplicaStability:
        """Record how many workers a group has and requests; return how long both have been stable."""
        known = self._replicas.setdefault(key, {}).setdefault(group, _Replicas(observed, requested, now))
        if requested < known.requested:
            known.lowered = now
        if (observed, requested) != (known.observed, known.requested):
            known.observed, known.requested, known.since = observed, requested, now
        return ReplicaStability(now - known.since, now - known.lowered)

    def forget(self, key: RunId) -> None:
        """Forget a run that is gone."""
        self._replicas.pop(key, None)
