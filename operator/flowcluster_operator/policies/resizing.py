"""From the number of workers that a cluster has to the number that it shall have.

The upstream operator is asked to add workers and never to remove any: it would choose by itself which. Those that go
are deleted here: the ones that have not started, and the ones that the driver has retired. What is known of
dask-kubernetes: it acts on changes of the number alone, fills up to it when it grows, and sees no change where a number
went down and came back before it looked.
"""

from __future__ import annotations

from flowcluster_api import names
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.model import Delete, Observed, Resizing, Scale, SetWorkers, identity
from flowcluster_operator.resources import DEPLOYMENT, Object

#: Seconds in which the upstream operator has seen a change, and in which it has made the workers asked for.
SEEN_SECONDS, MADE_SECONDS = 1.0, 10.0


def resizing(observed: Observed, backend: Backend, scale: Scale) -> Resizing:
    """The next step towards `scale`."""
    cluster, target = observed.cluster, scale.target
    if cluster is None or "deletionTimestamp" in cluster["metadata"] or not backend.acted_on(observed):
        return Resizing()
    live = live_workers(observed)
    if victims := _removable(observed, live, target):
        return Resizing(tuple(Delete(DEPLOYMENT, *identity(obj), background=True) for obj in victims), 0)
    number, wait = _number(backend.workers(cluster), len(live), target, *observed.settled)
    if number is None:
        return Resizing(requeue=wait)
    patch = backend.sized(cluster, scale._replace(target=number))
    return Resizing((SetWorkers(backend.resource, *identity(cluster), patch),), wait)


def live_workers(observed: Observed) -> list[Object]:
    """The Deployments of workers that are to stay."""
    return [
        obj
        for obj in observed.deployments
        if "deletionTimestamp" not in obj["metadata"]
        and obj["metadata"]["labels"].get(names.LABEL_COMPONENT) == names.COMPONENT_WORKER
    ]


def _removable(observed: Observed, live: list[Object], target: int) -> list[Object]:
    """Workers that can go without loss: all that have retired; as many as are too many of those that never started."""
    demand = observed.driver.demand if observed.driver is not None else None
    retired = set(demand.retired if demand else ())
    victims = [obj for obj in live if obj["metadata"]["name"] in retired]
    surplus = len(live) - len(victims) - target
    if surplus > 0:
        started = [pod.name for pod in observed.of(names.COMPONENT_WORKER) if pod.started]
        waiting = [
            obj
            for obj in live
            if obj not in victims and not any(pod.startswith(f"{obj['metadata']['name']}-") for pod in started)
        ]
        victims += sorted(waiting, key=lambda obj: str(obj["metadata"]["creationTimestamp"]), reverse=True)[:surplus]
    return victims


def _number(requested: int, live: int, target: int, same: float, lowered: float) -> tuple[int | None, float | None]:
    """The number to ask for, if another one; and seconds until there may be one."""
    if requested == live:
        if target <= live:
            return None, None
        return (target, None) if lowered >= SEEN_SECONDS else (None, SEEN_SECONDS - lowered)
    if requested < live:
        return None, None  # somebody else asked for fewer: the upstream operator removes them
    if target > requested:
        return target, None
    # Workers were deleted, or are being made. To be made anew, the number has to change first.
    patience = SEEN_SECONDS if target <= live else MADE_SECONDS
    return (live, SEEN_SECONDS) if same >= patience else (None, patience - same)
