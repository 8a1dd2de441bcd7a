"""What to delete of a run that is over, suspended or gone, and when to repeat the delete.

The operator deletes what the FlowRun itself controls, in the foreground: the run's Lease. Garbage collection then
deletes what the Lease controls: cluster, Job and rights. The operator deletes other objects only when they have no
living
controller: a living controller would create them again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from flowcluster_operator.desired.metadata import owned_by
from flowcluster_operator.model.observed import Remains
from flowcluster_operator.model.plan import Action, Delete, DropFinalizers
from flowcluster_operator.policies.dead_node import waiting_for_node
from flowcluster_operator.resources import ACCESS, BY_KIND, LEASE, NETWORK_POLICY, Object
from flowcluster_operator.settings import Settings
from flowcluster_operator.timestamps import parse_time

#: Seconds between checks of an object that is stuck.
_STUCK_CHECK_SECONDS = 10.0
_FOREGROUND = "foregroundDeletion"
_WITHOUT_DEPENDENTS = (*ACCESS, NETWORK_POLICY)
#: Finalizers that kopf and the garbage collector set and remove; dask-kubernetes is a kopf operator.
DASK_KUBERNETES_FINALIZER = "kopf.zalando.org/KopfFinalizerMarker"
_OF_KUBERNETES = {_FOREGROUND, "orphan", "batch.kubernetes.io/job-tracking"}
_DASK_GROUP = "kubernetes.dask.org"


def removals(remains: Remains, settings: Settings, now: dt.datetime) -> list[Action]:
    """Return the next deletes."""
    orphans = {obj["metadata"]["uid"] for obj in remains.orphans}
    actions: list[Action | None] = []
    for obj in _known(remains):
        if "deletionTimestamp" in obj["metadata"]:
            actions.append(_repeat(obj, remains, settings, now))
        elif owned_by(obj, remains.key) or obj["metadata"]["uid"] in orphans:
            actions.append(_delete(obj))
    return [action for action in actions if action is not None]


def stuck_in(remains: Remains, settings: Settings, now: dt.datetime) -> float | None:
    """Return the seconds until the first object counts as stuck in its deletion; None when none is being deleted."""
    waits = [
        settings.stuck_seconds - (now - parse_time(obj["metadata"]["deletionTimestamp"])).total_seconds()
        for obj in _known(remains)
        if "deletionTimestamp" in obj["metadata"]
    ]
    return min((max(wait, 0.5) if wait > 0 else _STUCK_CHECK_SECONDS for wait in waits), default=None)


def anything_left(remains: Remains) -> bool:
    """Return whether children of the run are known."""
    return bool(
        _children(remains) or remains.deployments or remains.pods or remains.upstream_children or remains.orphans
    )


def held(remains: Remains, settings: Settings, now: dt.datetime) -> str | None:
    """Return one sentence about what blocks the deletion, a finalizer or a node; None if nothing does."""
    for obj in _known(remains):
        meta = obj["metadata"]
        foreign = [name for name in meta.get("finalizers") or [] if name not in _OF_KUBERNETES]
        if foreign and _is_stuck(obj, settings, now):
            return f"{obj['kind']} {meta['name']} is being deleted and waits for its finalizer {foreign[0]}"
    return waiting_for_node(remains, now)


def _children(remains: Remains) -> list[Object]:
    """Return what the operator created for the run, and its stray Leases."""
    children = (
        remains.cluster,
        remains.job,
        remains.lease,
        *remains.access,
        *remains.network_policies,
        *remains.stray_leases,
    )
    return [obj for obj in children if obj is not None]


def _known(remains: Remains) -> Iterator[Object]:
    seen = set()
    for obj in (*_children(remains), *remains.orphans):
        if (uid := obj["metadata"]["uid"]) not in seen:
            seen.add(uid)
            yield obj


def _has_living(obj: Object, remains: Remains) -> bool:
    """Return whether a dependent of an object is not being deleted.

    The dependents of a cluster or Job are Deployments and pods. Those of a Lease are the cluster and the Job, too.
    """
    below = [*remains.deployments, *((remains.cluster, remains.job) if obj["kind"] == LEASE.kind else ())]
    return any(other is not None and "deletionTimestamp" not in other["metadata"] for other in below) or any(
        not pod.terminating for pod in remains.pods
    )


def _is_stuck(obj: Object, settings: Settings, now: dt.datetime) -> bool:
    deleted = obj["metadata"].get("deletionTimestamp")
    return deleted is not None and (now - parse_time(deleted)).total_seconds() >= settings.stuck_seconds


def _delete(obj: Object) -> Delete:
    meta, resource = obj["metadata"], BY_KIND[obj["kind"]]
    return Delete(resource, meta["name"], meta["uid"], background=resource in _WITHOUT_DEPENDENTS)


def _repeat(obj: Object, remains: Remains, settings: Settings, now: dt.datetime) -> Action | None:
    """Return the next action on an object that is being deleted and still exists; None while there is none."""
    meta, resource = obj["metadata"], BY_KIND[obj["kind"]]
    finalizers = meta.get("finalizers") or []
    if resource.group == _DASK_GROUP and DASK_KUBERNETES_FINALIZER in finalizers and _is_stuck(obj, settings, now):
        left = tuple(name for name in finalizers if name != DASK_KUBERNETES_FINALIZER)
        return DropFinalizers(resource, meta["name"], meta["uid"], left, meta["resourceVersion"])
    # Another client has deleted the object in the background. If the upstream operator does not run, its finalizer
    # keeps the object, and the pods go on running. A second delete, in the foreground, makes the garbage collector
    # delete the pods. The operator sends it only while there are dependents to delete. Otherwise the garbage collector
    # would remove the foreground finalizer, and the next delete would add it again, some thirty times a second until
    # the upstream operator acts.
    if finalizers and _FOREGROUND not in finalizers and _has_living(obj, remains):
        return Delete(resource, meta["name"], meta["uid"])
    return None
