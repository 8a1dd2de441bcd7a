"""Requests for workers to an upstream operator, over all runs: which it has served, and which it may have lost.

An upstream operator that is overloaded looks like one that lost a request. The difference shows in the requests of
other runs: once a newer one is served, the operator has passed over this one. Times are of a monotonic clock.
"""

from __future__ import annotations

import dataclasses

from flowcluster_operator.model import Key, Served

#: Seconds by which a served request must be newer to count as evidence: requests are not served in order.
_NEWER_SECONDS = 10.0
#: Seconds for which a retry keeps those of other runs waiting, unless it is served earlier.
_RETRY_SECONDS = 30.0


@dataclasses.dataclass
class _Request:
    """The last request of a run: its numbers, when it was made, whether it was served, how often it was repeated."""

    live: int
    requested: int
    since: float
    is_served: bool
    retries: int = 0


class Requests:
    """What was observed of the requests of all runs, and the one retry that is under way."""

    def __init__(self) -> None:
        #: By worker group of each run or shared cluster; the workers of `spec.workers` have the empty name.
        self._requests: dict[Key, dict[str, _Request]] = {}
        #: The time of the newest request that was served.
        self._newest = -_NEWER_SECONDS
        self._retry: tuple[Key, str, float] | None = None

    def see(self, key: Key, live: int, requested: int, now: float, group: str = "") -> Served:
        """Take in the numbers of workers that a cluster has and asks for."""
        of_key = self._requests.setdefault(key, {})
        known = of_key.setdefault(group, _Request(live, requested, now, live >= requested))
        if requested > known.requested:
            known.since, known.is_served = now, False
        if live > known.live and live >= requested and not known.is_served:
            known.is_served, known.retries = True, 0
            self._newest = max(self._newest, known.since)
            self._release(key, group)
        known.live, known.requested = live, requested
        return Served(
            is_served=known.is_served,
            is_overtaken=self._newest >= known.since + _NEWER_SECONDS,
            is_taken=self._is_taken(key, group, now),
            retries=known.retries,
        )

    def claim(self, key: Key, now: float, group: str = "") -> bool:
        """Begin a retry, unless another one is under way: at most one is in the whole operator."""
        if self._is_taken(key, group, now):
            return False
        self._retry = key, group, now
        if (known := self._requests.get(key, {}).get(group)) is not None:
            known.retries += 1
        return True

    def forget(self, key: Key) -> None:
        """Forget a run that is gone."""
        self._requests.pop(key, None)
        if self._retry is not None and self._retry[0] == key:
            self._retry = None

    def _is_taken(self, key: Key, group: str, now: float) -> bool:
        return self._retry is not None and self._retry[:2] != (key, group) and now - self._retry[2] < _RETRY_SECONDS

    def _release(self, key: Key, group: str) -> None:
        if self._retry is not None and self._retry[:2] == (key, group):
            self._retry = None
