"""The next step from the workers that a cluster has to the target number.

The operator requests more workers from the upstream operator, and never fewer: the upstream operator would choose by
itself which workers to remove. Instead, the operator deletes workers itself: those that have not started, and those
that the driver has retired.

This relies on how dask-kubernetes works. It acts only on changes of the requested number, and creates workers up to the
number when that grows. It misses a number that went down and up again before it looked, and a change while it creates
the parts of a new cluster.
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

#: Seconds within which an idle upstream operator sees a change; seconds within which it creates the requested workers.
SEEN_SECONDS, MADE_SECONDS = 1.0, 10.0
#: Seconds before the operator repeats a request that may only be late. dask-kubernetes takes 20 s for 100 clusters that
#: are requested at the same time. When the operator repeated the requests after 10 s, it took 200 to 575 s.
PATIENCE_SECONDS = 60.0
#: Seconds of the longest wait between two retries; seconds of the wait while a retry of another run is in flight.
_LONGEST_SECONDS, _OTHER_RETRY_SECONDS = 600.0, 5.0


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
    if not scalable.accepts_scaling(cluster) and (left := PATIENCE_SECONDS - stability.unchanged_for) > 0:
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
    if is_retry and observed.request.has_to_wait:
        return NextStep(requeue=_OTHER_RETRY_SECONDS)
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
    """Return the workers that can be deleted without a loss: all retired ones, and surplus ones that never started."""
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

    A retry is work for the upstream operator. The wait is short if the upstream operator has served the request before,
    or has served newer ones. Otherwise the upstream operator may be overloaded. The wait is then long, and it differs
    between runs, so that they do not all retry at the same time. Each retry doubles the wait.
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
    """Return the number to request now, None for no change; and the seconds until the next check, None for none."""
    if requested <= live:
        # Fewer workers are requested than exist, or as many. Fewer: a retry lowered the number and late workers came,
        # or another client lowered it. The upstream operator then removes workers of its own choice, unless the number
        # is raised again.
        if target < live or target == requested:
            return None, None
        lowered_for = stability.lowered_for
        return (target, None) if lowered_for >= SEEN_SECONDS else (None, SEEN_SECONDS - lowered_for)
    if target > requested:
        return target, None
    # Workers were deleted, or are still being created. After the wait, the operator lowers the number to the workers
    # that exist: only then is the next request a change.
    unchanged_for = stability.unchanged_for
    return (live, SEEN_SECONDS) if unchanged_for >= patience else (None, patience - unchanged_for)
