"""When upstream operators last began to serve a cluster, over all runs. Times are of a monotonic clock.

For one run, an upstream operator that has many clusters to create looks like one that is down. The clusters of other
runs show the difference.
"""

from __future__ import annotations

import math

from flowcluster_operator.model.identity import RunId


class UpstreamActivity:
    """The clusters that upstream operators serve, and when they began to serve the last one of each kind."""

    def __init__(self) -> None:
        self._served: dict[RunId, str] = {}
        self._last: dict[str, float] = {}

    def record(self, kind: str, key: RunId, uid: str, has_started: bool, now: float) -> float:
        """Record whether a cluster is served; return the seconds since that began for the last one of its kind.

        Args:
            kind: of the cluster.
            key: its run.
            uid: of its resource.
            has_started: whether the upstream operator has begun to serve it.
            now: the time.
        """
        if has_started and self._served.get(key) != uid:
            self._served[key], self._last[kind] = uid, now
        return now - self._last.get(kind, -math.inf)

    def forget(self, key: RunId) -> None:
        """Forget a run that is gone."""
        self._served.pop(key, None)
