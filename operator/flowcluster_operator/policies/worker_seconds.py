"""Worker seconds of a run: the sum of the times of its Ready workers, as a measure of its cost."""

from __future__ import annotations

import datetime as dt

from flowcluster_operator.resources import Object
from flowcluster_operator.timestamps import parse_time, timestamp


def used(known: Object, ready: int, now: dt.datetime) -> Object:
    """Return the fields of a cluster's status that change, with the worker seconds until now.

    No field changes while the number of Ready workers stays the same, so that a running flow causes no writes.

    Args:
        known: the cluster in the status.
        ready: the workers that are Ready now.
        now: the time.
    """
    before = (known.get("workers") or {}).get("ready", 0)
    if ready == before:
        return {}
    until = timestamp(now)
    # Both times are in whole seconds, so that no time is lost between two periods.
    period = parse_time(until) - parse_time(known.get("workersTime", until))
    return {
        "workerSeconds": known.get("workerSeconds", 0) + before * int(period.total_seconds()),
        "workersTime": until,
    }
