"""When upstream operators last began to serve a cluster, over all runs. Times are of a monotonic clock.

An upstream operator that has many clusters to make looks like one that is away. The difference shows in other clusters.
"""

from __future__ import annotations

import math

from flowcluster_operator.model import Key


class UpstreamActivity:
    """The clusters that were seen served, and when the last one of each kind was."""

    def __init__(self) -> None:
        self._served: dict[Key, str] = {}
        self._last: dict[str, float] = {}

    def see(self, kind: str, key: Key, uid: str, has_begun: bool, now: float) -> float:
        """Take in whether a cluster resource is served; return seconds since the last one of its kind began to be."""
        if has_begun and self._served.get(key) != uid:
            self._served[key], self._last[kind] = uid, now
        return now - self._last.get(kind, -math.inf)

    def forget(self, key: Key) -> None:
        """Forget a run that is gone."""
        self._served.pop(key, None)
