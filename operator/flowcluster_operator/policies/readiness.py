"""Whether a run's cluster can take work: its scheduler or head is Ready, and so is the minimum of workers."""

from __future__ import annotations

from typing import NamedTuple

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_operator.model import Observed, PodFacts, Scale


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
    if cluster.ref is not None:
        if observed.referenced is None:
            return Readiness(False, c.CLUSTER_NOT_FOUND, f"there is no {cluster.kind}Cluster {cluster.ref.name} here")
        return Readiness(True, c.CLUSTER_USABLE, f"uses {cluster.kind}Cluster {cluster.ref.name}")
    waiting, leader = [], names.LEADERS[cluster.kind]
    if ready_leader(observed) is None:
        stages = [pod.stage for pod in observed.of(leader) if not pod.terminating]
        waiting.append(f"the {leader} ({stages[-1]})" if stages else f"the {leader}")
    if (workers := ready_workers(observed)) < scale.minimum:
        waiting.append(f"{scale.minimum - workers} of {scale.minimum} workers")
    if waiting:
        return Readiness(False, c.WAITING, f"waiting for {' and '.join(waiting)}")
    return Readiness(True, c.CLUSTER_USABLE, f"the {leader} and {workers} workers are ready")


def ready_leader(observed: Observed) -> PodFacts | None:
    """The pod of the scheduler or head, when it is Ready."""
    return next((pod for pod in observed.leaders() if pod.ready and not pod.terminating), None)


def ready_workers(observed: Observed) -> int:
    """How many workers are Ready."""
    return sum(pod.ready and not pod.terminating for pod in observed.of(names.COMPONENT_WORKER))
