"""New statuses of runs that wait to be written. Times are of a monotonic clock.

Passes continue from the pending status as if it were written. It is lost when the process ends. The next process then
observes the same again, and writes its first status immediately.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.plan import Plan
from flowcluster_operator.policies.status_rate import interval
from flowcluster_operator.resources import Object


class _Pending(NamedTuple):
    """A status that waits, and the one on the API server that it follows."""

    written: Object
    status: Object


class PendingStatuses:
    """The statuses that wait, and when the last one of each run was written."""

    def __init__(self) -> None:
        self._pending: dict[RunId, _Pending] = {}
        self._last: dict[RunId, float] = {}

    def latest(self, key: RunId, written: Object) -> Object:
        """Return the status to continue from: the pending one, unless another client has written one meanwhile."""
        pending = self._pending.get(key)
        return pending.status if pending is not None and pending.written == written else written

    def rate_limited(self, key: RunId, plan: Plan, written: Object, now: float) -> Plan:
        """Return the plan, without its status where that must wait; the run is then due again in time."""
        if plan.status is None:
            self._pending.pop(key, None)
            return plan
        last = self._last.get(key)
        wait = last + interval(plan.status) - now if plan.may_wait and last is not None else 0.0
        if wait <= 0:
            return plan
        self._pending[key] = _Pending(written, plan.status)
        return dataclasses.replace(plan, status=None, requeue=min(wait, wait if plan.requeue is None else plan.requeue))

    def record_write(self, key: RunId, now: float) -> None:
        """Record that the status of a run has been written."""
        self._pending.pop(key, None)
        self._last[key] = now

    def last_written(self, key: RunId) -> float | None:
        """Return when this process last wrote the status of a run; None if it has not."""
        return self._last.get(key)

    def forget(self, key: RunId) -> None:
        """Forget a run that is gone."""
        self._pending.pop(key, None)
        self._last.pop(key, None)
