"""What to delete of a run that is over, suspended or gone, and when to insist.

The operator deletes what the FlowRun itself controls, in the foreground: the run's Lease. Garbage collection deletes
what that controls: cluster, Job and rights. An object with another controller is deleted here only when no living
owner is left: a controller that lives replaces it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from flowcluster_operator.desired.metadata import owned_by
from flowcluster_operator.facts import parse_time
from flowcluster_operator.model import Action, Delete, DropFinalizers, Observed
from flowcluster_operator.policies.dead_node import waiting_for_node
from flowcluster_operator.resources import ACCESS, BY_KIND, LEASE, NETWORK_POLICY, Object
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
    orphans = {obj["metadata"]["uid"] for obj in observed.orphans}
    actions: list[Action | None] = []
    for obj in _known(observed):
        if "deletionTimestamp" in obj["metadata"]:
            actions.append(_insist(obj, observed, settings, now))
        elif owned_by(obj, observed.key) or obj["metadata"]["uid"] in orphans:
            actions.append(_delete(obj))
    return [action for action in actions if action is not None]


def stuck_in(observed: Observed, settings: Settings, now: dt.datetime) -> float | None:
    """Return seconds until the first object that is being deleted counts as stuck; None when none is."""
    waits = [
        settings.stuck_seconds - (now - parse_time(obj["metadata"]["deletionTimestamp"])).total_seconds()
        for obj in _known(observed)
        if "deletionTimestamp" in obj["metadata"]
    ]
    return min((max(wait, 0.5) if wait > 0 else _STUCK_LOOK_SECONDS for wait in waits), default=None)


def anything_left(observed: Observed) -> bool:
    """Whether children of the run are known."""
    return bool(
        _children(observed) or observed.deployments or observed.pods or observed.upstream_children or observed.orphans
    )


def held(observed: Observed, settings: Settings, now: dt.datetime) -> str | None:
    """Return one sentence about what has held the deletion for long: a finalizer of others, or a node; else None."""
    for obj in _known(observed):
        meta = obj["metadata"]
        foreign = [name for name in meta.get("finalizers") or [] if name not in _OF_KUBERNETES]
        if foreign and _is_stuck(obj, settings, now):
            return f"{obj['kind']} {meta['name']} is being deleted and waits for its finalizer {foreign[0]}"
    return waiting_for_node(observed, now)


def _children(observed: Observed) -> list[Object]:
    """Return what the operator created for the run, and the Leases that its drivers gave to it."""
    children = (
        observed.cluster,
        observed.job,
        observed.lease,
        *observed.access,
        *observed.network_policies,
        *observed.stray_leases,
    )
    return [obj for obj in children if obj is not None]


def _known(observed: Observed) -> Iterator[Object]:
    seen = set()
    for obj in (*_children(observed), *observed.orphans):
        if (uid := obj["metadata"]["uid"]) not in seen:
            seen.add(uid)
            yield obj


def _has_living(obj: Object, observed: Observed) -> bool:
    """Whether something below an object is not being deleted: of a Lease the cluster and the Job, and what they own."""
    below = [*observed.deployments, *((observed.cluster, observed.job) if obj["kind"] == LEASE.kind else ())]
    return any(other is not None and "deletionTimestamp" not in other["metadata"] for other in below) or any(
        not pod.terminating for pod in observed.pods
    )


def _is_stuck(obj: Object, settings: Settings, now: dt.datetime) -> bool:
    deleted = obj["metadata"].get("deletionTimestamp")
    return deleted is not None and (now - parse_time(deleted)).total_seconds() >= settings.stuck_seconds


def _delete(obj: Object) -> Delete:
    meta, resource = obj["metadata"], BY_KIND[obj["kind"]]
    return Delete(resource, meta["name"], meta["uid"], background=resource in _WITHOUT_DEPENDENTS)


def _insist(obj: Object, observed: Observed, settings: Settings, now: dt.datetime) -> Action | None:
    """Return what to do about an object that is being deleted and does not go."""
    meta, resource = obj["metadata"], BY_KIND[obj["kind"]]
    finalizers = meta.get("finalizers") or []
    if resource.group == _DASK_GROUP and DASK_KUBERNETES_FINALIZER in finalizers and _is_stuck(obj, settings, now):
        left = tuple(name for name in finalizers if name != DASK_KUBERNETES_FINALIZER)
        return DropFinalizers(resource, meta["name"], meta["uid"], left, meta["resourceVersion"])
    # Deleted in the background by another client: with the upstream operator away its pods would go on running
    # behind that operator's finalizer. A second, foreground delete has the garbage collector remove them. It is made
    # only while there is something to remove: the garbage collector takes its finalizer off when nothing is, and a
    # further delete would put it on again, some thirty times a second until the upstream operator acts.
    if finalizers and _FOREGROUND not in finalizers and _has_living(obj, observed):
        return Delete(resource, meta["name"], meta["uid"])
    return None
