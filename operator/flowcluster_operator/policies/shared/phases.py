"""Whether a SharedCluster has a cluster in its present phase, or nothing of it must exist."""

from __future__ import annotations

from flowcluster_operator.resources import Object

#: Phases in which the cluster exists or is being created; phases in which it does so only if the status has
#: `startTime`.
_LIVE = ("Starting", "Ready")
_EITHER = ("Rebuilding", "Failed")


def exists(status: Object) -> bool:
    """Return whether a cluster was created and not stopped.

    Otherwise the operator deletes what is left before it creates another cluster. One of both holds for every status,
    even for one that another client changed.
    """
    phase = status.get("phase")
    return phase in _LIVE or (phase in _EITHER and "startTime" in status)


def is_new(status: Object) -> bool:
    """Return whether no cluster was created yet."""
    return status.get("phase") in (None, "Pending")
