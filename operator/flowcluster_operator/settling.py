"""How long the numbers of workers of clusters have been at rest, by a monotonic clock of this process.

What is seen for the first time counts as just changed: it may have been, before this process began.
"""

from __future__ import annotations

import dataclasses
import math

from flowcluster_operator.model import Key, Settled


@dataclasses.dataclass
class _Numbers:
    live: int
    requested: int
    since: float
    lowered: float = -math.inf


class Settling:
    """What was last seen, by run. `now` is in seconds."""

    def __init__(self) -> None:
        #: By worker group of each run or shared cluster; the workers of `spec.workers` have the empty name.
        self._seen: dict[Key, dict[str, _Numbers]] = {}

    def see(self, key: Key, live: int, requested: int, now: float, group: str = "") -> Settled:
        """Take in how many workers a group has, and how many are requested."""
        seen = self._seen.setdefault(key, {}).setdefault(group, _Numbers(live, requested, now))
        if requested < seen.requested:
            seen.lowered = now
        if (live, requested) != (seen.live, seen.requested):
            seen.live, seen.requested, seen.since = live, requested, now
        return Settled(now - seen.since, now - seen.lowered)

    def forget(self, key: Key) -> None:
        """The run is gone."""
        self._seen.pop(key, None)
