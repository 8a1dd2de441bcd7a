"""What a pass observes of a shared cluster."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from flowcluster_api import names
from flowcluster_api.handover import CredentialRequest
from flowcluster_api.v1alpha1 import SharedClusterSpec, WorkerGroup
from flowcluster_operator.model.observed import Observed, Remains
from flowcluster_operator.model.workers import ReplicaStability, RequestState
from flowcluster_operator.resources import Object

_STABLE = ReplicaStability()
_SERVED = RequestState()


class User(NamedTuple):
    """A FlowRun that uses the cluster or waits for it: it names the cluster, is admitted, and is not over.

    Attributes:
        uid: of the FlowRun.
        name: of the FlowRun.
        namespace: of the FlowRun.
        priority: of its tasks.
        threads: maximum tasks that it has in flight; None without a limit.
        needs_credentials: whether its driver pod is in another namespace, so that it cannot mount those of the cluster.
    """

    uid: str
    name: str
    namespace: str
    priority: int = 0
    threads: int | None = None
    needs_credentials: bool = False


@dataclasses.dataclass(frozen=True)
class GroupFacts:
    """A further worker group.

    Attributes:
        group: from the spec.
        resource: its DaskWorkerGroup; None before it exists, and on Ray.
        stability: as `Observed.stability`, of this group.
        request: as `Observed.request`, of this group.
    """

    group: WorkerGroup
    resource: Object | None = None
    stability: ReplicaStability = _STABLE
    request: RequestState = _SERVED


@dataclasses.dataclass(frozen=True)
class SharedRemains:
    """The objects of a shared cluster whose SharedCluster is deleted.

    Attributes:
        base: its objects, in the form of those of a run. `deployments` does not have the Deployment of the keeper.
        tests: pods of `helm test`.
    """

    base: Remains
    tests: tuple[Object, ...] = ()


@dataclasses.dataclass(frozen=True)
class SharedInvalid:
    """A SharedCluster whose spec is invalid.

    Attributes:
        base: its objects, and the SharedCluster.
        owner: the SharedCluster.
        written: the status on the API server. That of `owner` may still wait to be written.
        message: why the spec cannot be used, in one line that names the field.
    """

    base: Remains
    owner: Object
    written: Object | None
    message: str


@dataclasses.dataclass(frozen=True)
class SharedObserved:
    """Everything that a decision about a live shared cluster can read.

    Attributes:
        base: the shared cluster in the form of a run without a flow, so that the policies of runs work on it. `run` is
            the SharedCluster, `spec` is `shared_specs.view` of its spec, and `driver` is its keeper. `deployments` does
            not have the Deployment of the keeper.
        spec: of the SharedCluster.
        groups: further worker groups, in the order of the spec.
        users: the FlowRuns that use it or wait for it, of all namespaces.
        keeper: the Deployment of its keeper.
        requests: requests for its credentials, for runs of other namespaces. The keeper has to answer them.
    """

    base: Observed
    spec: SharedClusterSpec
    groups: tuple[GroupFacts, ...] = ()
    users: tuple[User, ...] = ()
    keeper: Object | None = None
    requests: tuple[CredentialRequest, ...] = ()

    def of_group(self, facts: GroupFacts | None) -> Observed:
        """Return the cluster with the workers of one group only, for policies that count the workers of a run.

        Args:
            facts: the group; None for the workers of `spec.workers`.
        """
        base, name = self.base, facts.group.name if facts else ""
        pods = tuple(pod for pod in base.pods if pod.component != names.COMPONENT_WORKER or pod.group == name)
        seen = dataclasses.replace(base, pods=pods, deployments=tuple(_of(base.deployments, name)))
        if facts is None or base.spec.cluster is None:
            return seen
        cluster = base.spec.cluster.model_copy(update={"workers": facts.group})
        driver = base.driver
        if driver is not None and driver.demand is not None:
            driver = driver._replace(demand=driver.demand.of_group(name))
        has_resource = cluster.kind == "Dask"  # on Ray, groups are in the RayCluster
        return dataclasses.replace(
            seen,
            spec=base.spec.model_copy(update={"cluster": cluster}),
            driver=driver,
            cluster=facts.resource if has_resource else base.cluster,
            stability=facts.stability,
            request=facts.request,
        )


def _of(deployments: tuple[Object, ...], group: str) -> list[Object]:
    """Return the Deployments of a group, and the scheduler's, which has no group."""
    return [
        obj for obj in deployments if (obj["metadata"].get("labels") or {}).get(names.LABEL_WORKER_GROUP, "") == group
    ]
