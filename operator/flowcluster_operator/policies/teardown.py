"""What to delete of a run that is over, suspended or gone, and when to insist.

The operator deletes roots: what the FlowRun itself controls. Garbage collection deletes what belongs to them. An object
that another controller made is deleted here only when no living owner is left: a controller that lives replaces it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from flowcluster_operator.facts import parse_time
from flowcluster_operator.model import Action, Delete, DropFinalizers, Observed
from flowcluster_operator.resources import ACCESS, BY_KIND, NETWORK_POLICY, Object
from flowcluster_operator.settings import Settings

#: Seconds between looks at an object that is stuck.
_STUCK_LOOK_SECONDS = 10.0
_FOREGROUND = "foregroundDeletion"
_WITHOUT_DEPENDENTS = (*ACCESS, NETWORK_POLICY)
#: Finalizers that kopf and the garbage collector set and remove; dask-kubernetes is a kopf operator.
DASK_KUBERNETES_FINALIZER = "kopf.zalando.org/KopfFinalizerMarker"
_OF_KUBERNETES = {_FOREGROUND, "orphan", "batch.kubernetes.io/job-tracking"}
_DASK_GROUP = "kubernetes.dask.org"


def removals(observed: Observed, settings: Settings, now: dt.datetime) -> list[Action]:
    """Return the next deletes."""
    lives_on = _lives_on(observed)
    return [action for obj in _deletable(observed) if (action := _remove(obj, lives_on, settings, now)) is not None]


def stuck_in(observed: Observed, settings: Settings, now: dt.datetime) -> float | None:
    """Return seconds until the first object that is being deleted counts as stuck; None when none is."""
    waits = [
        settings.stuck_seconds - (now - parse_time(obj["metadata"]["deletionTimestamp"])).total_seconds()
        for obj in _deletable(observed)
        if "deletionTimestamp" in obj["metadata"]
    ]
    return min((max(wait, 0.5) if wait > 0 else _STUCK_LOOK_SECONDS for wait in waits), default=None)


def anything_left(observed: Observed) -> bool:
    """Whether children of the run are known."""
    return bool(
        _roots(observed) or observed.deployments or observed.pods or observed.upstream_children or observed.orphans
    )


def held(observed: Observed, settings: Settings, now: dt.datetime) -> str | None:
    """Return one sentence about an object whose deletion another party's finalizer has held for long; else None."""
    for obj in _deletable(observed):
        meta = obj["metadata"]
        foreign = [name for name in meta.get("finalizers") or [] if name not in _OF_KUBERNETES]
        if foreign and _is_stuck(obj, settings, now):
            return f"{obj['kind']} {meta['name']} is being deleted and waits for its finalizer {foreign[0]}"
    return None


def _roots(observed: Observed) -> list[Object]:
    children = (
        observed.cluster,
        observed.job,
        observed.lease,
        *observed.access,
        *observed.network_policies,
        *observed.stray_leases,
    )
    return [obj for obj in children if obj is not None]


def _deletable(observed: Observed) -> Iterator[Object]:
    seen = set()
    for obj in (*_roots(observed), *observed.orphans):
        if (uid := obj["metadata"]["uid"]) not in seen:
            seen.add(uid)
            yield obj


def _lives_on(observed: Observed) -> bool:
    """Whether something that a cluster or Job owns is not being deleted."""
    return any("deletionTimestamp" not in obj["metadata"] for obj in observed.deployments) or any(
        not pod.terminating for pod in observed.pods
    )


def _is_stuck(obj: Object, settings: Settings, now: dt.datetime) -> bool:
    deleted = obj["metadata"].get("deletionTimestamp")
    return deleted is not None and (now - parse_time(deleted)).total_seconds() >= settings.stuck_seconds


def _remove(obj: Object, lives_on: bool, settings: Settings, now: dt.datetime) -> Action | None:
    meta, resource = obj["metadata"], BY_KIND[obj["kind"]]
    finalizers = meta.get("finalizers") or []
    if "deletionTimestamp" not in meta:
        return Delete(resource, meta["name"], meta["uid"], background=resource in _WITHOUT_DEPENDENTS)
    if resource.group == _DASK_GROUP and DASK_KUBERNETES_FINALIZER in finalizers and _is_stuck(obj, settings, now):
        left = tuple(name for name in finalizers if name != DASK_KUBERNETES_FINALIZER)
        return DropFinalizers(resource, meta["name"], meta["uid"], left, meta["resourceVersion"])
    # Deleted in the background by another client: with the upstream operator away its pods would go on running
    # behind that operator's finalizer. A second, foreground delete has the garbage collector remove them. It is made
    # only while there is something to remove: the garbage collector takes its finalizer off when nothing is, and a
    # further delete would put it on again, some thirty times a second until the upstream operator acts.
    if lives_on and finalizers and _FOREGROUND not in finalizers:
        return Delete(resource, meta["name"], meta["uid"])
    return None
