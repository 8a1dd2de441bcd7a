"""The task runs of a flow that goes on, as its driver counts them: what of it stands in the status, and when."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from flowcluster_operator.facts import parse_time, timestamp
from flowcluster_operator.model import Observed
from flowcluster_operator.policies.lease import holder_runs
from flowcluster_operator.resources import Object

#: Seconds between two changes of the counts in the status, at least: a driver reports more often where
#: spec.leaseDurationSeconds is short.
INTERVAL_SECONDS = 10
_LEAST, _SECOND = dt.timedelta(seconds=INTERVAL_SECONDS), dt.timedelta(seconds=1)


class Counted(NamedTuple):
    """What changes.

    Attributes:
        changes: fields of ``status.flow`` with their new values.
        requeue: seconds until counts that are known already can be written; None where there are none.
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
    if tasks is None and not holder_runs(observed):
        tasks = _stopped(flow)
    if tasks is None or tasks == flow.get("tasks"):
        return Counted({})
    left = parse_time(flow["tasksTime"]) + _LEAST - now if "tasksTime" in flow else dt.timedelta(0)
    if dt.timedelta(0) < left <= _LEAST + _SECOND:  # a longer time is of a clock that was set since
        return Counted({}, left.total_seconds())
    # Rounded up: a time that is cut to seconds would let the next change come too early.
    return Counted({"tasks": tasks, "tasksTime": timestamp(now + _SECOND - dt.timedelta(microseconds=1))})


def final(observed: Observed, flow: Object) -> Object | None:
    """Return the counts of a flow that does not go on: the last ones that are known, with no task run running."""
    tasks = reported(observed)
    return _stopped(flow if tasks is None else {"tasks": tasks})


def _stopped(flow: Object) -> Object | None:
    return {**flow["tasks"], "running": 0} if flow.get("tasks") else None


def reported(observed: Observed) -> Object | None:
    """Return what the driver of the current attempt reports; None before it has created a task run.

    What an earlier attempt counted stays in the status until then.
    """
    progress = observed.driver.progress if observed.driver is not None else None
    if progress is None or progress.tasks is None or not progress.tasks.total or not holder_runs(observed):
        return None
    return progress.tasks._asdict()
