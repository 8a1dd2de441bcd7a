"""What a pass observes of a run: `Observed` while its FlowRun exists, `Remains` once its FlowRun is deleted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from flowcluster_api import names
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.model.failures import Rejection, RepeatedFailure, WarningEvent
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.pods import PodFacts
from flowcluster_operator.model.references import Parent, Reference
from flowcluster_operator.model.workers import ReplicaStability, RequestState
from flowcluster_operator.resources import Object

_STABLE = ReplicaStability()
_SERVED = RequestState()
_NO_REFERENCE = Reference()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Remains:
    """The objects of a run or shared cluster. Once its owner is deleted, a pass observes nothing else.

    Attributes:
        key: identity of the FlowRun or SharedCluster.
        run: the FlowRun or SharedCluster; None when it does not exist any more.
        cluster: its DaskCluster or RayCluster.
        job: the Job of its driver.
        lease: its root Lease.
        access: ServiceAccount, Role and RoleBinding of its driver or keeper.
        network_policies: the policies that decide which pods reach its pods.
        stray_leases: Leases of other names whose owner references drivers of other runs have changed to this owner.
        They
            are deleted with it.
        deployments: Deployments of its scheduler and workers.
        pods: all of its pods.
        upstream_children: all other objects that upstream operators and controllers created for it.
        orphans: its objects that have no living controller any more.
    """

    key: RunId
    run: Object | None = None
    cluster: Object | None = None
    job: Object | None = None
    lease: Object | None = None
    access: tuple[Object, ...] = ()
    network_policies: tuple[Object, ...] = ()
    stray_leases: tuple[Object, ...] = ()
    deployments: tuple[Object, ...] = ()
    pods: tuple[PodFacts, ...] = ()
    upstream_children: tuple[Object, ...] = ()
    orphans: tuple[Object, ...] = ()

    def of(self, component: str) -> list[PodFacts]:
        """Return the pods of one component."""
        return [pod for pod in self.pods if pod.component == component]

    def live(self, component: str) -> int:
        """Return how many pods of one component have not ended and are not being deleted."""
        return sum(not pod.terminating and pod.ended is None for pod in self.of(component))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observed(Remains):
    """Everything that a decision about a live run can read.

    Attributes:
        run: the FlowRun or SharedCluster. Its status is the last one that this process decided on. That may still wait
            to be written.
        written: the status on the API server.
        spec: of the run. If that is invalid, a spec without flow and cluster.
        invalid: why the spec cannot be used, in one line that names the field.
        credentials: name of the Secret with the run's own credentials; None before it exists.
        pull_secrets: names of image pull secrets by ServiceAccount; known while children are missing.
        parameters: name of the ConfigMap that this process created for the flow's parameters.
        driver: the last heartbeat of its driver; None before its Lease exists.
        parent: the FlowRun that owns the run.
        child_runs: the FlowRuns that the run owns.
        upstream_idle: seconds since the upstream operator last began to serve a cluster, of any run.
        stability: how long the number of workers has been stable.
        request: whether the upstream operator has served the last request for workers.
        warnings: Events about children that got no pods.
        events_due: seconds until Events of objects that the run waits for are listed again; None when it waits for
            none.
        rejections: children that the API server refused a moment ago.
        failure: why the last passes over the run failed; None where the last one succeeded.
        verified_gone: whether the API server confirmed, for this pass, that nothing of the run exists.
        uses_shared: whether `spec.cluster.ref` names a SharedCluster. Its kind is then in `spec.cluster`, too.
        reference: the cluster that `spec.cluster.ref` names.
    """

    run: Object
    spec: FlowRunSpec
    written: Object | None = None
    invalid: str | None = None
    credentials: str | None = None
    pull_secrets: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    parameters: str | None = None
    driver: DriverHeartbeat | None = None
    parent: Parent | None = None
    child_runs: tuple[Object, ...] = ()
    upstream_idle: float = math.inf
    stability: ReplicaStability = _STABLE
    request: RequestState = _SERVED
    warnings: tuple[WarningEvent, ...] = ()
    events_due: float | None = None
    rejections: tuple[Rejection, ...] = ()
    failure: RepeatedFailure | None = None
    verified_gone: bool = False
    uses_shared: bool = False
    reference: Reference = _NO_REFERENCE

    @property
    def referenced(self) -> Object | None:
        """The resource of the cluster that `spec.cluster.ref` names; None when there is none of that name."""
        return self.reference.cluster

    @property
    def uses_existing_cluster(self) -> bool:
        """Whether the run uses a cluster that is not its own."""
        return bool(self.spec.cluster and self.spec.cluster.ref)

    @property
    def shares_parent_driver(self) -> bool:
        """Whether the driver of the parent run drives this run, too."""
        return self.parent is not None and self.spec.flow is None

    def head_pods(self) -> list[PodFacts]:
        """Return the pods of the scheduler or head of the cluster that the run uses."""
        if self.uses_existing_cluster:
            return list(self.reference.head_pods)
        return [pod for pod in self.pods if pod.component in names.HEAD_COMPONENTS.values()]
