"""The delay before the next retry of a pass that failed: exponential backoff with jitter, for each run."""

from __future__ import annotations

import random
from typing import NamedTuple

from flowcluster_operator.model.failures import RepeatedFailure
from flowcluster_operator.model.identity import RunId

#: The longest delay, in seconds.
MAX_DELAY = 10.0
#: Maximum of the first delay, in seconds: after an error, and after a conflict, which is over sooner.
FIRST_DELAY, FIRST_CONFLICT_DELAY = 0.4, 0.05
#: After that many doublings the delay is `MAX_DELAY` in any case. A float holds no more than 1,023 doublings.
_MAX_DOUBLINGS = 16


class _Failures(NamedTuple):
    """Consecutive passes that failed: why the last one did, when the first one did, and how many."""

    reason: str
    message: str
    since: float
    number: int


class Backoff:
    """The failures of each run. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._failures: dict[RunId, _Failures] = {}

    def next_delay(
        self,
        key: RunId,
        reason: str,
        message: str,
        now: float,
        *,
        first: float = FIRST_DELAY,
        at_least: float | None = None,
    ) -> float:
        """Record a failed pass; return the seconds until its retry.

        Args:
            key: the run.
            reason: one CamelCase word.
            message: why the pass failed.
            now: the time.
            first: maximum of the first delay.
            at_least: the delay that the API server requested; None where it requested none.
        """
        known = self._failures.get(key)
        since, number = (known.since, known.number + 1) if known else (now, 1)
        self._failures[key] = _Failures(reason, message, since, number)
        doublings = min(number - 1, _MAX_DOUBLINGS)
        delay: float = min(first * 2.0**doublings, MAX_DELAY) * random.uniform(0.5, 1.0)
        return max(delay, min(at_least or 0, MAX_DELAY))

    def failure(self, key: RunId, now: float) -> RepeatedFailure | None:
        """Return why the last passes over a run failed; None where the last one succeeded."""
        known = self._failures.get(key)
        return RepeatedFailure(known.reason, known.message, now - known.since) if known is not None else None

    def reset(self, key: RunId) -> None:
        """Record that a pass succeeded."""
        self._failures.pop(key, None)
