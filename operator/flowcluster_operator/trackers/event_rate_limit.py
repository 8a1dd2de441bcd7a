"""A rate limit on the Kubernetes Events that the operator writes, like that of client-go's EventCorrelator.

The status of a run has its whole story. Events are copies of it for `kubectl get events`: 100 runs that start at the
same time, or wait for the same quota, must not write hundreds of them in a second. Times are of a monotonic clock.
"""

from __future__ import annotations

import dataclasses

from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.plan import Emit

#: Events of one run: the burst, and the rate for each second after it. client-go has the same limits for each object.
RUN_BURST, RUN_RATE = 25, 1 / 300
#: The most Events of one run, type and reason within that many seconds.
SIMILAR, SIMILAR_SECONDS = 10, 600.0
#: Normal Events of all runs.
NORMAL_BURST, NORMAL_RATE = 50, 5.0
#: Warnings of one reason in one namespace: runs that wait for the same thing have the same warning.
WARNING_BURST, WARNING_RATE = 25, 1.0
#: Buckets of warnings that are kept. Full ones are dropped first.
_MOST_BUCKETS = 1000


@dataclasses.dataclass
class _Bucket:
    """A token bucket."""

    burst: float
    rate: float
    tokens: float
    since: float

    def refill(self, now: float) -> float:
        """Add the tokens of the time since the last call; return how many there are."""
        self.tokens, self.since = min(self.tokens + (now - self.since) * self.rate, self.burst), now
        return self.tokens


@dataclasses.dataclass
class _OfRun:
    bucket: _Bucket
    similar: dict[tuple[str, str], list[float]] = dataclasses.field(default_factory=dict)


class EventRateLimit:
    """Token buckets for each run, for all normal Events, and for each reason of warnings in a namespace."""

    def __init__(self) -> None:
        self._runs: dict[RunId, _OfRun] = {}
        self._normal: _Bucket | None = None
        self._warnings: dict[tuple[str, str], _Bucket] = {}

    def admits(self, key: RunId, event: Emit, now: float) -> bool:
        """Return whether an Event is within all limits, and count it if it is."""
        run = self._runs.setdefault(key, _OfRun(_Bucket(RUN_BURST, RUN_RATE, RUN_BURST, now)))
        kind = event.type, event.reason
        similar = [when for when in run.similar.get(kind, ()) if now - when < SIMILAR_SECONDS]
        shared = self._shared(key, event, now)
        if len(similar) >= SIMILAR or min(run.bucket.refill(now), shared.refill(now)) < 1:
            return False
        run.similar[kind] = [*similar, now]
        run.bucket.tokens -= 1
        shared.tokens -= 1
        return True

    def forget(self, key: RunId) -> None:
        """Forget a run that is gone."""
        self._runs.pop(key, None)

    def _shared(self, key: RunId, event: Emit, now: float) -> _Bucket:
        if event.type == "Normal":
            self._normal = self._normal or _Bucket(NORMAL_BURST, NORMAL_RATE, NORMAL_BURST, now)
            return self._normal
        if len(self._warnings) >= _MOST_BUCKETS:
            self._warnings = {
                kind: bucket for kind, bucket in self._warnings.items() if bucket.refill(now) < WARNING_BURST
            }
        full = _Bucket(WARNING_BURST, WARNING_RATE, WARNING_BURST, now)
        return self._warnings.setdefault((key.namespace, event.reason), full)
