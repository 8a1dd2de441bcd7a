"""What must be deleted of a run that is over, suspended or gone, and when to insist."""

from __future__ import annotations

import datetime as dt

from flowcluster_operator.facts import parse_time
from flowcluster_operator.model import Action, Delete, DropFinalizers, Observed
from flowcluster_operator.resources import BY_KIND, DEPLOYMENT, POD, Object
from flowcluster_operator.settings import Settings

_FOREGROUND = "foregroundDeletion"


def removals(observed: Observed, settings: Settings, now: dt.datetime) -> list[Action]:
    """The next deletes. Cluster and Job go first and take their own children along.

    What is left without them afterwards (a finalizer was dropped, somebody deleted with
    ``--cascade=orphan``) is deleted piece by piece.
    """
    roots = [obj for obj in (observed.cluster, observed.job, observed.lease) if obj is not None]
    if roots:
        return [action for obj in roots if (action := _remove(obj, settings, now)) is not None]
    loose: list[Action] = [
        Delete(DEPLOYMENT, obj["metadata"]["name"], obj["metadata"]["uid"])
        for obj in observed.deployments
        if "deletionTimestamp" not in obj["metadata"]
    ]
    loose += [Delete(POD, pod.name, pod.uid) for pod in observed.pods if not pod.terminating]
    return loose


def stuck_in(observed: Observed, settings: Settings, now: dt.datetime) -> float | None:
    """Seconds until the first object that is being deleted counts as stuck; None when none is."""
    waits = [
        settings.stuck_seconds - (now - parse_time(obj["metadata"]["deletionTimestamp"])).total_seconds()
        for obj in (observed.cluster, observed.job, observed.lease)
        if obj is not None and "deletionTimestamp" in obj["metadata"]
    ]
    return max(min(waits), 1.0) if waits else None


def anything_left(observed: Observed) -> bool:
    """Whether children of the run are known."""
    return bool(observed.cluster or observed.job or observed.lease or observed.deployments or observed.pods)


def _remove(obj: Object, settings: Settings, now: dt.datetime) -> Action | None:
    meta = obj["metadata"]
    resource = BY_KIND[obj["kind"]]
    deleted = meta.get("deletionTimestamp")
    finalizers = meta.get("finalizers") or []
    if deleted is None:
        return Delete(resource, meta["name"], meta["uid"])
    if (now - parse_time(deleted)).total_seconds() >= settings.stuck_seconds:
        return DropFinalizers(resource, meta["name"], meta["uid"])
    # Deleted in the background by somebody else: with the upstream operator away its pods would go on running
    # behind that operator's finalizer. A second, foreground delete has the garbage collector remove them.
    if finalizers and _FOREGROUND not in finalizers:
        return Delete(resource, meta["name"], meta["uid"])
    return None
