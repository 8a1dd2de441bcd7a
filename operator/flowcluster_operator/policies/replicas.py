"""The next number of replicas: from the workers that a cluster has to the target.

The operator requests more workers from the upstream operator, and never fewer: the upstream operator would choose by
itself which workers to remove. The operator deletes them here: those that have not started, and those that the driver
has retired. Rules of dask-kubernetes that this relies on: it acts only on changes of the number, and creates workers up
to it when it grows. It sees no change where a number went down and came back before it looked, or where it changed
while the parts of a new cluster were created.
"""

from __future__ import annotations

import zlib

from flowcluster_api import names
from flowcluster_operator.backends.base import Scalable
from flowcluster_operator.model.identity import name_and_uid
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import Delete, NextStep, SetWorkers
from flowcluster_operator.model.workers import ReplicaStability, Scale
from flowcluster_operator.resources import DEPLOYMENT, Object

#: Seconds within which the upstream operator sees a change; seconds within which it creates the requested workers when
#: it is idle.
SEEN_SECONDS, MADE_SECONDS = 1.0, 10.0
#: Seconds before a request that may be late, and not lost, is repeated. dask-kubernetes takes 20 s for 100 clusters
#: that are requested at the same time; requests that were repeated after 10 s made it 200 to 575 s.
PATIENCE_SECONDS = 60.0
#: The longest wait between two retries, and the wait while a request of another run is repeated.
_LONGEST_SECONDS, _TAKEN_SECONDS = 600.0, 5.0


def next_replicas(observed: Observed, scalable: Scalable, scale: Scale) -> NextStep:
    """Return the next step towards the target.

    Args:
        observed: the run, or the shared cluster with the workers of one group.
        scalable: how the number of workers is read and written.
        scale: bounds and target.
    """
    cluster, target = observed.cluster, scale.target
    if cluster is None or "deletionTimestamp" in cluster["metadata"] or not scalable.upstream_has_started(observed):
        return NextStep()
    stability = observed.stability
    if not scalable.notices_numbers(cluster) and (left := PATIENCE_SECONDS - stability.unchanged_for) > 0:
        return NextStep(requeue=left)
    live = live_workers(observed)
    if removable := _removable(observed, live, target):
        return NextStep(tuple(Delete(DEPLOYMENT, *name_and_uid(obj), background=True) for obj in removable), 0)
    patience = SEEN_SECONDS if target <= len(live) else _patience(observed)
    requested = scalable.requested_workers(cluster)
    number, wait = _next_request(requested, len(live), target, stability, patience)
    if number is None:
        return NextStep(requeue=wait)
    is_retry = number < target
    if is_retry and observed.request.is_taken:
        return NextStep(requeue=_TAKEN_SECONDS)
    patch = scalable.scale_patch(cluster, scale._replace(target=number))
    return NextStep((SetWorkers(scalable.resource, *name_and_uid(cluster), patch, is_retry=is_retry),), wait)


def live_workers(observed: Observed) -> list[Object]:
    """Return the Deployments of workers that are not being deleted."""
    return [
        obj
        for obj in observed.deployments
        if "deletionTimestamp" not in obj["metadata"]
        and obj["metadata"]["labels"].get(names.LABEL_COMPONENT) == names.COMPONENT_WORKER
    ]


def _removable(observed: Observed, live: list[Object], target: int) -> list[Object]:
    """Return the workers to delete, without a loss: all that have retired, and the surplus that never started."""
    demand = observed.driver.demand if observed.driver is not None else None
    retired = set(demand.retired if demand else ())
    removable = [obj for obj in live if obj["metadata"]["name"] in retired]
    surplus = len(live) - len(removable) - target
    if surplus > 0:
        started = [pod.name for pod in observed.of(names.COMPONENT_WORKER) if pod.started]
        waiting = [
            obj
            for obj in live
            if obj not in removable and not any(pod.startswith(f"{obj['metadata']['name']}-") for pod in started)
        ]
        newest = sorted(waiting, key=lambda obj: str(obj["metadata"]["creationTimestamp"]), reverse=True)
        removable += newest[:surplus]
    return removable


def _patience(observed: Observed) -> float:
    """Return the seconds after which missing workers are requested again.

    A retry costs the upstream operator work. It comes soon where the upstream operator served the request once, or has
    served newer ones. Elsewhere the upstream operator may be overloaded: the wait is long, and differs between runs, so
    that they do not all retry at the same time. Each retry doubles it.
    """
    request = observed.request
    first = MADE_SECONDS
    if not (request.is_served or request.is_overtaken):
        share = zlib.crc32(observed.key.uid.encode()) / 2**32
        first = PATIENCE_SECONDS * (1 + share)
    return float(min(first * 2 ** min(request.retries, 10), _LONGEST_SECONDS))


def _next_request(
    requested: int, live: int, target: int, stability: ReplicaStability, patience: float
) -> tuple[int | None, float | None]:
    """Return the number to request, if another one, and the seconds until there may be one."""
    if requested <= live:
        # The number is below the workers that exist: a retry lowered it and late workers came, or another client
        # lowered it. The upstream operator then removes workers of its own choice, unless all of them are requested
        # again.
        if target < live or target == requested:
            return None, None
        lowered_for = stability.lowered_for
        return (target, None) if lowered_for >= SEEN_SECONDS else (None, SEEN_SECONDS - lowered_for)
    if target > requested:
        return target, None
    # Workers were deleted, or are being created. The number has to change before they can be requested again.
    unchanged_for = stability.unchanged_for
    return (live, SEEN_SECONDS) if unchanged_for >= patience else (None, patience - unchanged_for)
