"""Worker seconds of a run: its cost, for the report at the end of the month."""

from __future__ import annotations

import datetime as dt

from flowcluster_operator.resources import Object
from flowcluster_operator.timestamps import parse_time, timestamp


def used(known: Object, ready: int, now: dt.datetime) -> Object:
    """Return the fields of a cluster's status that change, with the worker seconds until now.

    No field changes as long as the number of Ready workers stays the same, so that a run that only goes on costs no
    writes.

    Args:
        known: the cluster in the status.
        ready: the workers that are Ready now.
        now: the time.
    """
    before = (known.get("workers") or {}).get("ready", 0)
    if ready == before:
        return {}
    until = timestamp(now)
    # Both in whole seconds, so that nothing is lost between one period and the next.
    period = parse_time(until) - parse_time(known.get("workersTime", until))
    return {
        "workerSeconds": known.get("workerSeconds", 0) + before * int(period.total_seconds()),
        "workersTime": until,
    }
