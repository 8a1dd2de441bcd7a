"""From the number of workers that a cluster has to the number that it shall have.

The upstream operator is asked to add workers and never to remove any: it would choose by itself which. Those that go
are deleted here: the ones that have not started, and the ones that the driver has retired. What is known of
dask-kubernetes: it acts only on changes of the number, fills up to it when it grows, and sees no change where a number
went down and came back before it looked, or where it changed while the parts of a new cluster were made.
"""

from __future__ import annotations

import zlib

from flowcluster_api import names
from flowcluster_operator.backends.base import Sizes
from flowcluster_operator.model import Delete, Observed, Resizing, Scale, SetWorkers, identity
from flowcluster_operator.resources import DEPLOYMENT, Object

#: Seconds in which the upstream operator has seen a change, and in which it makes the workers of a request when it is
#: idle.
SEEN_SECONDS, MADE_SECONDS = 1.0, 10.0
#: Seconds that a request waits which may be late and not lost. 100 clusters that are requested at once take
#: dask-kubernetes 20 s; requests that were repeated after 10 s made it 200 to 575 s.
PATIENCE_SECONDS = 60.0
#: The longest wait between two retries, and the wait for a retry of another run.
_LONGEST_SECONDS, _TAKEN_SECONDS = 600.0, 5.0


def resizing(observed: Observed, backend: Sizes, scale: Scale) -> Resizing:
    """The next step towards `scale`."""
    cluster, target = observed.cluster, scale.target
    if cluster is None or "deletionTimestamp" in cluster["metadata"] or not backend.acted_on(observed):
        return Resizing()
    if not backend.notices_numbers(cluster) and (left := PATIENCE_SECONDS - observed.settled.same) > 0:
        return Resizing(requeue=left)
    live = live_workers(observed)
    if victims := _removable(observed, live, target):
        return Resizing(tuple(Delete(DEPLOYMENT, *identity(obj), background=True) for obj in victims), 0)
    patience = SEEN_SECONDS if target <= len(live) else _patience(observed)
    number, wait = _number(backend.workers(cluster), len(live), target, *observed.settled, patience)
    if number is None:
        return Resizing(requeue=wait)
    is_retry = number < target
    if is_retry and observed.served.is_taken:
        return Resizing(requeue=_TAKEN_SECONDS)
    patch = backend.sized(cluster, scale._replace(target=number))
    return Resizing((SetWorkers(backend.resource, *identity(cluster), patch, is_retry=is_retry),), wait)


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


def _patience(observed: Observed) -> float:
    """Return seconds after which workers that are not there are requested again.

    A retry makes the upstream operator work. It is soon where the operator served the request once, or has served newer
    ones. Elsewhere the operator may be overloaded: the wait is long, and differs between runs, so that they do not all
    retry at the same time. Each retry doubles it.
    """
    served = observed.served
    first = MADE_SECONDS
    if not (served.is_served or served.is_overtaken):
        share = zlib.crc32(observed.key.uid.encode()) / 2**32
        first = PATIENCE_SECONDS * (1 + share)
    return float(min(first * 2 ** min(served.retries, 10), _LONGEST_SECONDS))


def _number(
    requested: int, live: int, target: int, same: float, lowered: float, patience: float
) -> tuple[int | None, float | None]:
    """Return the number to ask for, if another one, and seconds until there may be one."""
    if requested <= live:
        # Fewer than there are: a retry lowered the number, and late workers came; or another client wants fewer. The
        # upstream operator removes workers then, by its own choice. It does not where all of them are requested again.
        if target < live or target == requested:
            return None, None
        return (target, None) if lowered >= SEEN_SECONDS else (None, SEEN_SECONDS - lowered)
    if target > requested:
        return target, None
    # Workers were deleted, or are being made. Before they can be requested again, the number has to change.
    return (live, SEEN_SECONDS) if same >= patience else (None, patience - same)
