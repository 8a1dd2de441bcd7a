"""New statuses of runs that wait to be written. Times are of a monotonic clock.

Passes go on from the status that waits as if it were written. A process that ends forgets it: the next one observes the
same again, and writes its first status immediately.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from flowcluster_operator.model import Key, Plan
from flowcluster_operator.policies.reporting import pause
from flowcluster_operator.resources import Object


class _Held(NamedTuple):
    """A status that waits, and the one on the API server that it follows."""

    written: Object
    status: Object


class Reports:
    """The statuses that wait, and when the last one of each run was written."""

    def __init__(self) -> None:
        self._held: dict[Key, _Held] = {}
        self._last: dict[Key, float] = {}

    def latest(self, key: Key, written: Object) -> Object:
        """Return the status to go on from: the one that waits, unless another client wrote one meanwhile."""
        held = self._held.get(key)
        return held.status if held is not None and held.written == written else written

    def paced(self, key: Key, plan: Plan, written: Object, now: float) -> Plan:
        """Return the plan without its status where that has to wait; the run is then due again in time."""
        if plan.status is None:
            self._held.pop(key, None)
            return plan
        last = self._last.get(key)
        wait = last + pause(plan.status) - now if plan.may_wait and last is not None else 0.0
        if wait <= 0:
            return plan
        self._held[key] = _Held(written, plan.status)
        return dataclasses.replace(plan, status=None, requeue=min(wait, wait if plan.requeue is None else plan.requeue))

    def wrote(self, key: Key, now: float) -> None:
        """Take in that the status of a run has been written."""
        self._held.pop(key, None)
        self._last[key] = now

    def last_written(self, key: Key) -> float | None:
        """Return when this process last wrote the status of a run; None if it has not."""
        return self._last.get(key)

    def forget(self, key: Key) -> None:
        """Forget a run that is gone."""
        self._held.pop(key, None)
        self._last.pop(key, None)
