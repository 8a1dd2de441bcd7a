"""Whether the cluster of a SharedCluster is to exist now, or nothing of it: the phase and the start time decide."""

from __future__ import annotations

from flowcluster_operator.resources import Object

#: Phases in which the cluster exists or is being created, and those in which that depends on `startTime`.
_LIVE = ("Starting", "Ready")
_EITHER = ("Rebuilding", "Failed")


def exists(status: Object) -> bool:
    """Return whether a cluster was begun and not stopped.

    In all other phases, what is left is deleted before another cluster is begun. A status that another client changed
    leads to one of both.
    """
    phase = status.get("phase")
    return phase in _LIVE or (phase in _EITHER and "startTime" in status)


def is_new(status: Object) -> bool:
    """Return whether nothing was begun yet."""
    return status.get("phase") in (None, "Pending")
