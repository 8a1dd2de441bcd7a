"""Requests for workers to an upstream operator, over all runs: which it has served, and which it may have lost.

For one run, an overloaded upstream operator looks like one that has lost the request. The requests of other runs show
the difference: an upstream operator that serves a newer one has lost this one. Times are of a monotonic clock.
"""

from __future__ import annotations

import dataclasses

from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.workers import RequestState

#: Seconds by which a served request must be newer to count as evidence: requests are not served in order.
_NEWER_SECONDS = 10.0
#: Seconds for which a retry keeps other runs from a retry, unless it is served earlier.
_RETRY_SECONDS = 30.0


@dataclasses.dataclass
class _Request:
    """The last request of a run: its numbers, when it was made, whether it was served, how often it was repeated."""

    observed: int
    requested: int
    since: float
    is_served: bool
    retries: int = 0


class WorkerRequests:
    """The last request of each run, and the one retry that is in flight."""

    def __init__(self) -> None:
        #: By worker group of each run or shared cluster; the workers of `spec.workers` have the empty name.
        self._requests: dict[RunId, dict[str, _Request]] = {}
        #: The time of the newest request that was served.
        self._newest = -_NEWER_SECONDS
        self._retry: tuple[RunId, str, float] | None = None

    def record(self, key: RunId, observed: int, requested: int, now: float, group: str = "") -> RequestState:
        """Record how many workers a group has and requests; return the state of its last request."""
        of_key = self._requests.setdefault(key, {})
        known = of_key.setdefault(group, _Request(observed, requested, now, observed >= requested))
        if requested > known.requested:
            known.since, known.is_served = now, False
        if observed > known.observed and observed >= requested and not known.is_served:
            known.is_served, known.retries = True, 0
            self._newest = max(self._newest, known.since)
            self._release(key, group)
        known.observed, known.requested = observed, requested
        return RequestState(
            is_served=known.is_served,
            is_overtaken=self._newest >= known.since + _NEWER_SECONDS,
            has_to_wait=self._has_to_wait(key, group, now),
            retries=known.retries,
        )

    def claim(self, key: RunId, now: float, group: str = "") -> bool:
        """Begin a retry, unless another one is in flight: there is at most one in the whole operator."""
        if self._has_to_wait(key, group, now):
            return False
        self._retry = key, group, now
        if (known := self._requests.get(key, {}).get(group)) is not None:
            known.retries += 1
        return True

    def forget(self, key: RunId) -> None:
        """Forget a run that is gone."""
        self._requests.pop(key, None)
        if self._retry is not None and self._retry[0] == key:
            self._retry = None

    def _has_to_wait(self, key: RunId, group: str, now: float) -> bool:
        return self._retry is not None and self._retry[:2] != (key, group) and now - self._retry[2] < _RETRY_SECONDS

    def _release(self, key: RunId, group: str) -> None:
        if self._retry is not None and self._retry[:2] == (key, group):
            self._retry = None
