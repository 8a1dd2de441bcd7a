"""How much of workers a run uses: what a cluster's owner asks at the end of the month."""

from __future__ import annotations

import datetime as dt

from flowcluster_operator.facts import parse_time, timestamp
from flowcluster_operator.resources import Object


def used(known: Object, ready: int, now: dt.datetime) -> Object:
    """What of the cluster's status `known` changes when `ready` workers are Ready now: the seconds until now.

    Nothing does as long as their number stays the same, so that a run that just goes on costs no writes.
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
