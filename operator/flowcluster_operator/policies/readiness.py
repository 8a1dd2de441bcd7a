"""Whether a run's cluster can take work: its scheduler or head is Ready, and so is the minimum of workers."""

from __future__ import annotations

from typing import NamedTuple

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_operator.model import Observed, PodFacts, Scale
from flowcluster_operator.policies.shared_use import can_use, shared_name, unusable


class Readiness(NamedTuple):
    """A verdict and its reason."""

    ready: bool
    reason: str
    message: str


def readiness(observed: Observed, scale: Scale) -> Readiness:
    """The cluster's readiness, from its pods.

    DaskCluster's own phase is Running before anything runs, and RayCluster's state stays ready when its pods are gone.
    """
    assert observed.spec is not None
    cluster = observed.spec.cluster
    if cluster is None:
        return Readiness(True, c.NO_CLUSTER, "the run has no cluster of its own")
    if observed.uses_shared:
        reason, message = unusable(observed) or (c.CLUSTER_USABLE, f"uses {shared_name(observed)}")
        return Readiness(reason == c.CLUSTER_USABLE, reason, message)
    assert cluster.kind is not None
    if cluster.ref is not None:
        return _of_reference(observed, f"{cluster.kind}Cluster {cluster.ref.name}", names.LEADERS[cluster.kind])
    waiting, leader = [], names.LEADERS[cluster.kind]
    if ready_leader(observed) is None:
        stages = [pod.stage for pod in observed.of(leader) if not pod.terminating]
        waiting.append(f"the {leader} ({stages[-1]})" if stages else f"the {leader}")
    if (workers := ready_workers(observed)) < scale.minimum:
        waiting.append(f"{scale.minimum - workers} of {scale.minimum} workers")
    if waiting:
        return Readiness(False, c.WAITING, f"waiting for {' and '.join(waiting)}")
    return Readiness(True, c.CLUSTER_USABLE, f"the {leader} and {workers} workers are ready")


def _of_reference(observed: Observed, cluster: str, leader: str) -> Readiness:
    """The readiness of a cluster that exists without the run."""
    found = observed.reference
    if found.cluster is None:
        return Readiness(False, c.CLUSTER_NOT_FOUND, f"there is no {cluster} (spec.cluster.ref) in this namespace")
    if "deletionTimestamp" in found.cluster["metadata"]:
        return Readiness(False, c.CLUSTER_NOT_READY, f"{cluster} (spec.cluster.ref) is being deleted")
    if ready_leader(observed) is None:
        blocked = next((f": {pod.blocked.reason}" for pod in found.leaders if pod.blocked is not None), "")
        return Readiness(
            False, c.CLUSTER_NOT_READY, f"the {leader} of {cluster} (spec.cluster.ref) is not Ready{blocked}"
        )
    if not found.has_service:
        return Readiness(False, c.CLUSTER_NOT_READY, f"{cluster} (spec.cluster.ref) has no Service for its {leader}")
    return Readiness(True, c.CLUSTER_USABLE, f"uses {cluster}")


def is_usable(observed: Observed) -> bool:
    """Whether the scheduler or head of the run's cluster takes connections."""
    if observed.uses_shared:
        return can_use(observed)
    if ready_leader(observed) is None:
        return False
    if not observed.is_guest:
        return True
    found = observed.reference
    return found.cluster is not None and "deletionTimestamp" not in found.cluster["metadata"] and found.has_service


def ready_leader(observed: Observed) -> PodFacts | None:
    """The pod of the scheduler or head, when it is Ready."""
    return next((pod for pod in observed.leaders() if pod.ready and not pod.terminating), None)


def ready_workers(observed: Observed) -> int:
    """How many workers are Ready."""
    return sum(pod.ready and not pod.terminating for pod in observed.of(names.COMPONENT_WORKER))
