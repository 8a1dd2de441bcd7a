"""Whether a run's cluster can take work: its scheduler or head is Ready, and so is the minimum of workers."""

from __future__ import annotations

from typing import NamedTuple

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.pods import PodFacts
from flowcluster_operator.policies.shared_cluster import can_use, shared_name, why_unusable


class Readiness(NamedTuple):
    """Whether a cluster is ready, and why."""

    ready: bool
    reason: str
    message: str


def readiness(observed: Observed, minimum: int) -> Readiness:
    """Return the cluster's readiness, judged by its pods.

    The status of the cluster resource does not show it: a DaskCluster is Running before its pods run, and a RayCluster
    stays ready when its pods are gone.

    Args:
        observed: the run.
        minimum: workers that must be Ready.
    """
    cluster = observed.spec.cluster
    if cluster is None:
        return Readiness(True, c.NO_CLUSTER, "the run has no cluster of its own")
    if observed.uses_shared or cluster.kind is None:
        reason, message = why_unusable(observed) or (c.CLUSTER_USABLE, f"uses {shared_name(observed)}")
        return Readiness(reason == c.CLUSTER_USABLE, reason, message)
    head = names.HEAD_COMPONENTS[cluster.kind]
    if cluster.ref is not None:
        return _of_reference(observed, f"{cluster.kind}Cluster {cluster.ref.name}", head)
    waiting = []
    if ready_head(observed) is None:
        stages = [pod.stage for pod in observed.of(head) if not pod.terminating]
        waiting.append(f"the {head} ({stages[-1]})" if stages else f"the {head}")
    if (workers := ready_workers(observed)) < minimum:
        waiting.append(f"{minimum - workers} of {minimum} workers")
    if waiting:
        return Readiness(False, c.WAITING, f"waiting for {' and '.join(waiting)}")
    return Readiness(True, c.CLUSTER_USABLE, f"the {head} and {workers} workers are ready")


def _of_reference(observed: Observed, cluster: str, head: str) -> Readiness:
    """Return the readiness of a cluster that exists without the run."""
    found = observed.reference
    if found.cluster is None:
        return Readiness(False, c.CLUSTER_NOT_FOUND, f"there is no {cluster} (spec.cluster.ref) in this namespace")
    if "deletionTimestamp" in found.cluster["metadata"]:
        return Readiness(False, c.CLUSTER_NOT_READY, f"{cluster} (spec.cluster.ref) is being deleted")
    if ready_head(observed) is None:
        blocked = next((f": {pod.blocked.reason}" for pod in found.head_pods if pod.blocked is not None), "")
        return Readiness(
            False, c.CLUSTER_NOT_READY, f"the {head} of {cluster} (spec.cluster.ref) is not Ready{blocked}"
        )
    if not found.has_service:
        return Readiness(False, c.CLUSTER_NOT_READY, f"{cluster} (spec.cluster.ref) has no Service for its {head}")
    return Readiness(True, c.CLUSTER_USABLE, f"uses {cluster}")


def is_usable(observed: Observed) -> bool:
    """Return whether the scheduler or head of the run's cluster takes connections."""
    if observed.uses_shared:
        return can_use(observed)
    if ready_head(observed) is None:
        return False
    if not observed.uses_existing_cluster:
        return True
    found = observed.reference
    return found.cluster is not None and "deletionTimestamp" not in found.cluster["metadata"] and found.has_service


def ready_head(observed: Observed) -> PodFacts | None:
    """Return the pod of the scheduler or head that is Ready; None where there is none."""
    return next((pod for pod in observed.head_pods() if pod.ready and not pod.terminating), None)


def ready_workers(observed: Observed) -> int:
    """Return how many workers are Ready."""
    return sum(pod.ready and not pod.terminating for pod in observed.of(names.COMPONENT_WORKER))
