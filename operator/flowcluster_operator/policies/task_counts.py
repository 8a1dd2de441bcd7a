"""The counts of task runs in status: those that the driver of a running flow reports, and when to write them."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from flowcluster_operator.model.observed import Observed
from flowcluster_operator.policies.heartbeat import is_holder_running
from flowcluster_operator.resources import Object
from flowcluster_operator.timestamps import parse_time, timestamp

#: Minimum seconds between two changes of the counts in status. With a short spec.leaseDurationSeconds, a driver reports
#: more often.
INTERVAL_SECONDS = 10
_INTERVAL, _SECOND = dt.timedelta(seconds=INTERVAL_SECONDS), dt.timedelta(seconds=1)


class Counted(NamedTuple):
    """The changes of the counts.

    Attributes:
        changes: fields of ``status.flow`` with their new values.
        requeue: seconds until newer counts, which are known already, can be written; None where there are none.
    """

    changes: Object
    requeue: float | None = None


def counted(observed: Observed, flow: Object, now: dt.datetime) -> Counted:
    """Return the new counts of a flow that goes on.

    Args:
        observed: the run.
        flow: ``status.flow`` as it was written last.
        now: the time.
    """
    tasks = reported(observed)
    if tasks is None and not is_holder_running(observed):
        tasks = _none_running(flow)
    if tasks is None or tasks == flow.get("tasks"):
        return Counted({})
    left = parse_time(flow["tasksTime"]) + _INTERVAL - now if "tasksTime" in flow else dt.timedelta(0)
    if dt.timedelta(0) < left <= _INTERVAL + _SECOND:  # more time is left only if the clock was set back
        return Counted({}, left.total_seconds())
    # Rounded up to seconds: with a time that is rounded down, the next change would come too early.
    return Counted({"tasks": tasks, "tasksTime": timestamp(now + _SECOND - dt.timedelta(microseconds=1))})


def final_counts(observed: Observed, flow: Object) -> Object | None:
    """Return the counts of a flow that does not go on: the last ones that are known, with no task run running."""
    tasks = reported(observed)
    return _none_running(flow if tasks is None else {"tasks": tasks})


def _none_running(flow: Object) -> Object | None:
    return {**flow["tasks"], "running": 0} if flow.get("tasks") else None


def reported(observed: Observed) -> Object | None:
    """Return what the driver of the current attempt reports; None before it has created a task run.

    Until then, the status keeps the counts of an earlier attempt.
    """
    progress = observed.driver.progress if observed.driver is not None else None
    if progress is None or progress.tasks is None or not progress.tasks.total or not is_holder_running(observed):
        return None
    return progress.tasks._asdict()
