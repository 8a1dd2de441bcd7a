"""Whether a shared cluster is lost, and when another one is created."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from flowcluster_operator.backends.base import Backend
from flowcluster_operator.model.shared import SharedObserved
from flowcluster_operator.policies.scheduler_or_head_lost import cluster_lost, lease_lost
from flowcluster_operator.resources import Object
from flowcluster_operator.timestamps import parse_time

#: Seconds within which the upstream operator has to replace a lost scheduler.
IN_PLACE_SECONDS = 60.0
#: A loss within this many seconds after the cluster became Ready is a quick loss.
QUICK_SECONDS = 300.0
#: Seconds until the cluster is created again after the second quick loss in a row, and the maximum. Each further quick
#: loss doubles them.
_FIRST_PAUSE, _LONGEST_PAUSE = 10.0, 300.0


class Loss(NamedTuple):
    """How a cluster was lost.

    Attributes:
        message: one sentence.
        in_place: whether the upstream operator replaces the scheduler, while all else stays.
    """

    message: str
    in_place: bool


def lost(seen: SharedObserved, status: Object, backend: Backend, now: dt.datetime) -> Loss | None:
    """Return how the cluster was lost; None while it exists, or before it was ever usable."""
    base, known = seen.base, _as_of_run(status)
    if message := lease_lost(base, known):
        return Loss(message, in_place=False)
    if message := cluster_lost(base, known):
        is_there = base.cluster is not None and "deletionTimestamp" not in base.cluster["metadata"]
        return Loss(message, in_place=backend.replaces_head and is_there)
    left = in_place_left(status, now)
    if left is not None and left <= 0:
        return Loss(f"no scheduler has taken the place of the lost one for {IN_PLACE_SECONDS:g} s", in_place=False)
    return None


def in_place_left(status: Object, now: dt.datetime) -> float | None:
    """Return the seconds that the upstream operator still has to replace a lost scheduler; None where it does not."""
    if status.get("phase") != "Rebuilding" or "lostTime" not in status or status.get("scheduler"):
        return None
    return IN_PLACE_SECONDS - (now - parse_time(status["lostTime"])).total_seconds()


def quick_losses(status: Object, now: dt.datetime) -> int:
    """Return the number of quick losses in a row, with the loss that is recorded now; 1 if that is not a quick one."""
    since = status.get("readyTime")
    is_quick = since is not None and (now - parse_time(since)).total_seconds() < QUICK_SECONDS
    return int(status.get("quickLosses") or 0) + 1 if is_quick else 1


def pause_left(status: Object, now: dt.datetime) -> float:
    """Return the seconds until a lost cluster is created again.

    The pause keeps the operator from creating a head again and again that its first task kills.
    """
    number = min(int(status.get("quickLosses") or 0), 16)
    if number < 2 or "lostTime" not in status:
        return 0.0
    pause = float(min(_FIRST_PAUSE * 2.0 ** (number - 2), _LONGEST_PAUSE))
    passed = (now - parse_time(status["lostTime"])).total_seconds()
    return min(max(pause - passed, 0.0), pause)


def _as_of_run(status: Object) -> Object:
    """Return the part of a SharedCluster's status that policies of runs read, in the form of a FlowRun's status."""
    cluster = {name: status[name] for name in ("kind", "name", "scheduler") if name in status}
    return {"cluster": cluster} if "kind" in cluster and "name" in cluster else {}
