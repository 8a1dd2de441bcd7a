"""What must be deleted of a run that is over, suspended or gone, and when to insist."""

from __future__ import annotations

import datetime as dt

from flowcluster_operator.facts import parse_time
from flowcluster_operator.model import Action, Delete, DropFinalizers, Observed
from flowcluster_operator.resources import ACCESS, BY_KIND, NETWORK_POLICY, POD, Object
from flowcluster_operator.settings import Settings

_FOREGROUND = "foregroundDeletion"


def removals(observed: Observed, settings: Settings, now: dt.datetime) -> list[Action]:
    """The next deletes. Cluster and Job go first and take their own children along.

    What is left without them afterwards (a finalizer was dropped, somebody deleted with
    ``--cascade=orphan``, an upstream operator had not noticed yet) is deleted piece by piece.
    """
    if roots := _roots(observed):
        lives_on = _lives_on(observed)
        return [action for obj in roots if (action := _remove(obj, lives_on, settings, now)) is not None]
    loose: list[Action] = [
        Delete(BY_KIND[obj["kind"]], obj["metadata"]["name"], obj["metadata"]["uid"])
        for obj in (*observed.latecomers, *observed.deployments)
        if "deletionTimestamp" not in obj["metadata"]
    ]
    return [*loose, *(Delete(POD, pod.name, pod.uid) for pod in observed.pods if not pod.terminating)]


def stuck_in(observed: Observed, settings: Settings, now: dt.datetime) -> float | None:
    """Seconds until the first object that is being deleted counts as stuck; None when none is."""
    waits = [
        settings.stuck_seconds - (now - parse_time(obj["metadata"]["deletionTimestamp"])).total_seconds()
        for obj in _roots(observed)
        if "deletionTimestamp" in obj["metadata"]
    ]
    return max(min(waits), 1.0) if waits else None


def anything_left(observed: Observed) -> bool:
    """Whether children of the run are known."""
    return bool(_roots(observed) or observed.deployments or observed.pods or observed.latecomers)


def _roots(observed: Observed) -> list[Object]:
    children = (
        observed.cluster,
        observed.job,
        observed.lease,
        *observed.access,
        *observed.network_policies,
        *observed.strays,
    )
    return [obj for obj in children if obj is not None]


def _lives_on(observed: Observed) -> bool:
    """Whether something that a cluster or Job owns is not being deleted."""
    return any("deletionTimestamp" not in obj["metadata"] for obj in observed.deployments) or any(
        not pod.terminating for pod in observed.pods
    )


def _remove(obj: Object, lives_on: bool, settings: Settings, now: dt.datetime) -> Action | None:
    meta = obj["metadata"]
    resource = BY_KIND[obj["kind"]]
    deleted = meta.get("deletionTimestamp")
    finalizers = meta.get("finalizers") or []
    if deleted is None:
        return Delete(resource, meta["name"], meta["uid"], background=resource in (*ACCESS, NETWORK_POLICY))
    if (now - parse_time(deleted)).total_seconds() >= settings.stuck_seconds:
        return DropFinalizers(resource, meta["name"], meta["uid"])
    # Deleted in the background by another client: with the upstream operator away its pods would go on running
    # behind that operator's finalizer. A second, foreground delete has the garbage collector remove them. It is made
    # only while there is something to remove: the garbage collector takes its finalizer off when nothing is, and a
    # further delete would put it on again, some thirty times a second until the upstream operator acts.
    if lives_on and finalizers and _FOREGROUND not in finalizers:
        return Delete(resource, meta["name"], meta["uid"])
    return None
