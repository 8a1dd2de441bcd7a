"""The values that travel through a pass: what was observed, and the plan that follows from it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Mapping
from typing import NamedTuple

from flowcluster_api import names
from flowcluster_api.driver import Outcome
from flowcluster_api.lease import Demand
from flowcluster_api.progress import Progress
from flowcluster_api.v1alpha1 import FlowRunSpec, Workers
from flowcluster_operator.resources import Object, Resource


class Key(NamedTuple):
    """The identity of one run, or of one shared cluster.

    All parts count: a run of the same name, or a UID elsewhere, is another run.
    """

    namespace: str
    name: str
    uid: str
    kind: str = names.KIND


def identity(obj: Object) -> tuple[str, str]:
    """Name and UID of an object."""
    return obj["metadata"]["name"], obj["metadata"]["uid"]


@dataclasses.dataclass(frozen=True)
class Rejection:
    """The API server refused to create a child."""

    kind: str
    name: str
    status: int
    message: str


class Trouble(NamedTuple):
    """Passes over a run that fail one after the other.

    Attributes:
        reason: one CamelCase word.
        message: the API server's words, or those of the error.
        seconds: since the first of them failed.
    """

    reason: str
    message: str
    seconds: float


@dataclasses.dataclass(frozen=True)
class Warned:
    """A Kubernetes Event about one of the run's children."""

    kind: str
    name: str
    reason: str
    message: str


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a container ended: `text` is its termination message."""

    exit_code: int
    reason: str
    text: str


class Blocked(NamedTuple):
    """Why a pod does not run.

    Attributes:
        reason: one CamelCase word of the scheduler, the kubelet or a controller.
        message: its sentence.
        container: name of the container that it is about; empty for the pod as a whole.
    """

    reason: str
    message: str
    container: str = ""


class OutOfMemory(NamedTuple):
    """A container that Kubernetes killed at its memory limit.

    Attributes:
        container: its name.
        limit: its memory limit; None where it has none, and the memory of its node did not suffice.
        is_reported: whether the kubelet reported that. Otherwise a SIGKILL shows it that nothing else explains.
    """

    container: str
    limit: str | None
    is_reported: bool = True


@dataclasses.dataclass(frozen=True)
class PodFacts:
    """What matters of a pod.

    Attributes:
        stage: how far its start is.
        blocked: why it does not run, when Kubernetes has reported a reason.
        ended: how its main container ended, or the pod where no container ended.
        last_end: how its main container ended last, also when it runs again.
        failure: why the kubelet or a controller ended the whole pod, such as an eviction.
        disrupted: reason and message of the condition DisruptionTarget, such as a drain of its node.
        out_of_memory: the first container whose current or last end is OOMKilled.
        gone_by: when its grace period ends, of a pod that is being deleted.
        is_forced: whether it is being deleted without a grace period: it does not wait for its node.
        preparing_since: since when its node has prepared volumes, network and images; None when it does not.
        outlived_since: since when only containers run that are not the main one, which has ended; None otherwise.
        group: of a worker, the further worker group that it belongs to; empty for the workers of `spec.workers`.
    """

    name: str
    uid: str
    component: str
    phase: str
    ready: bool
    started: bool
    terminating: bool
    restarts: int
    created: dt.datetime
    stage: str
    blocked: Blocked | None = None
    ended: Ended | None = None
    last_end: Blocked | None = None
    failure: Blocked | None = None
    disrupted: Blocked | None = None
    out_of_memory: OutOfMemory | None = None
    gone_by: dt.datetime | None = None
    is_forced: bool = False
    preparing_since: dt.datetime | None = None
    outlived_since: dt.datetime | None = None
    group: str = ""


class DriverSigns(NamedTuple):
    """What is heard of a driver that runs elsewhere.

    Attributes:
        holder: who renews the run's Lease; None before anybody did.
        outcome: how it ended, as it says itself.
        silent: seconds since its last renewal, or the Lease itself, was first seen by this process.
        asked: seconds for which the API server has been asked, again and again, and knew of no other renewal.
        demand: what it needs of its cluster, if it says so.
        progress: its work at its last heartbeat, if it reports that.
        idle_confirmed: seconds for which the API server has confirmed, again and again, that the driver reports the
            run as idle for longer than its spec allows.
    """

    holder: str | None
    outcome: Outcome | None
    silent: float
    asked: float
    demand: Demand | None = None
    progress: Progress | None = None
    idle_confirmed: float = 0.0


class Parent(NamedTuple):
    """The FlowRun that a run is beneath of: what owns it.

    Attributes:
        name: of that FlowRun.
        account: ServiceAccount of its driver.
        keys: name of the Secret with its driver's keys; None when there is no driver any more.
        is_over: whether it has finished.
        uid: of that FlowRun.
        spec: of that FlowRun; None where it cannot be used.
    """

    name: str
    account: str
    keys: str | None
    is_over: bool
    uid: str = ""
    spec: FlowRunSpec | None = None


class Handover(NamedTuple):
    """How far the credentials of a SharedCluster of another namespace are on their way to the driver of a run.

    Attributes:
        made_of: name of the cluster's Secret whose content the run's own Secret has; None while the run has none.
        is_open: whether this process has opened the keeper's answer, so that the Secret can be created.
        requested: seconds since the keeper was requested to seal them; None while other runs come first.
        silent: seconds since the last heartbeat of the keeper.
        problem: why the keeper's answer is of no use; None where there is none yet, or it was opened.
        has_same_operator: whether one operator handles the run and the cluster.
    """

    made_of: str | None = None
    is_open: bool = False
    requested: float | None = None
    silent: float = 0.0
    problem: str | None = None
    has_same_operator: bool = True


class Reference(NamedTuple):
    """The cluster that spec.cluster.ref names.

    Attributes:
        cluster: its DaskCluster or RayCluster; None when there is none of that name.
        leaders: pods of its scheduler or head.
        has_service: whether the Service exists by which drivers reach it.
        shared: the SharedCluster that it belongs to, where the run names one that allows the run's namespace.
        keys: name of the Secret with the credentials of a SharedCluster.
        handover: how the run's driver gets those credentials, where that Secret is in another namespace.
    """

    cluster: Object | None = None
    leaders: tuple[PodFacts, ...] = ()
    has_service: bool = False
    shared: Object | None = None
    keys: str | None = None
    handover: Handover | None = None


class Scale(NamedTuple):
    """Workers of a run: the bounds that hold after the administrator's limit, and the number wanted now."""

    minimum: int
    maximum: int
    target: int


class Group(NamedTuple):
    """A further worker group of a shared cluster.

    Attributes:
        name: of the group.
        workers: what each of its workers is.
        scale: how many there are.
    """

    name: str
    workers: Workers
    scale: Scale


class Settled(NamedTuple):
    """How long the cluster's number of workers has been at rest, in seconds.

    Attributes:
        same: since the number of its worker Deployments, or the number asked for, changed last.
        lowered: since the number asked for became smaller; infinite if it never did.
    """

    same: float = math.inf
    lowered: float = math.inf


class Served(NamedTuple):
    """Whether the upstream operator has served the run's last request for workers.

    Attributes:
        is_served: once the workers were there; a worker that is gone since then is not replaced by itself.
        is_overtaken: a request of another run that is newer has been served, this one has not.
        is_taken: a request of another run is being repeated.
        retries: how often this request was repeated.
    """

    is_served: bool = True
    is_overtaken: bool = False
    is_taken: bool = False
    retries: int = 0


_AT_REST = Settled()
_SERVED = Served()
_NO_REFERENCE = Reference()


@dataclasses.dataclass(frozen=True)
class Observed:
    """Everything a decision may look at. `run` is None when the FlowRun is gone and only children are left."""

    key: Key
    #: The FlowRun or SharedCluster. Its status is the one that this process made last, which may wait to be written.
    run: Object | None
    #: The status on the API server, where that is another one.
    written: Object | None = None
    spec: FlowRunSpec | None = None
    #: Why the spec cannot be used, in one line that names the field. `spec` is then without flow and cluster.
    invalid: str | None = None
    cluster: Object | None = None
    job: Object | None = None
    lease: Object | None = None
    #: What gives the run's driver its rights.
    access: tuple[Object, ...] = ()
    #: What decides who reaches the run's pods.
    network_policies: tuple[Object, ...] = ()
    #: Leases of other names that other drivers have given to the run: they are deleted with it.
    stray_leases: tuple[Object, ...] = ()
    #: Name of the Secret with the run's own credentials; None before it exists.
    keys: str | None = None
    #: Names of image pull secrets by ServiceAccount; known while children are missing.
    pull_secrets: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    #: Name of the ConfigMap that this process created for the flow's parameters.
    parameters: str | None = None
    driver: DriverSigns | None = None
    parent: Parent | None = None
    #: The FlowRuns whose parent the run is.
    child_runs: tuple[Object, ...] = ()
    #: Seconds since the upstream operator last began to serve a cluster, of whichever run.
    upstream_idle: float = math.inf
    settled: Settled = _AT_REST
    served: Served = _SERVED
    deployments: tuple[Object, ...] = ()
    pods: tuple[PodFacts, ...] = ()
    #: What upstream operators and controllers made besides.
    upstream_children: tuple[Object, ...] = ()
    #: Objects that once belonged to the run by their owner references and have no living owner now.
    orphans: tuple[Object, ...] = ()
    warnings: tuple[Warned, ...] = ()
    #: Seconds until Events of what the run waits for are listed again; None when it waits for none.
    events_due: float | None = None
    rejections: tuple[Rejection, ...] = ()
    #: Why the last passes over the run failed.
    trouble: Trouble | None = None
    #: The API server confirmed, for this pass, that nothing of the run exists.
    verified_gone: bool = False
    #: Whether spec.cluster.ref names a SharedCluster, which has the kind of spec.cluster.
    uses_shared: bool = False
    #: The cluster that spec.cluster.ref names.
    reference: Reference = _NO_REFERENCE

    @property
    def referenced(self) -> Object | None:
        """The resource of the cluster that spec.cluster.ref names; None when there is none of that name."""
        return self.reference.cluster

    def of(self, component: str) -> list[PodFacts]:
        """The pods of one component."""
        return [pod for pod in self.pods if pod.component == component]

    @property
    def is_guest(self) -> bool:
        """Whether the run uses a cluster that is not its own."""
        return bool(self.spec and self.spec.cluster and self.spec.cluster.ref)

    @property
    def is_beneath(self) -> bool:
        """Whether the run's driver is that of the run above it."""
        return self.parent is not None and self.spec is not None and self.spec.flow is None

    def leaders(self) -> list[PodFacts]:
        """The pods of the scheduler or head of the cluster that the run uses."""
        if self.is_guest:
            return list(self.reference.leaders)
        return [pod for pod in self.pods if pod.component in names.LEADERS.values()]


@dataclasses.dataclass(frozen=True)
class Create:
    """Create a child; finding it there already, with the run as its owner, is success.

    Attributes:
        resource: its kind.
        body: of a Secret, without data.
        is_handed_over: whether the data of a Secret are credentials that a keeper has sealed for the run.
    """

    resource: Resource
    body: Object
    is_handed_over: bool = False


@dataclasses.dataclass(frozen=True)
class Delete:
    """Delete exactly this object (its UID is a precondition), its own dependents first.

    With `background` the object goes at once, and its dependents after it. With `forced` a pod does not wait for its
    node to confirm that it ended.
    """

    resource: Resource
    name: str
    uid: str
    background: bool = False
    forced: bool = False


@dataclasses.dataclass(frozen=True)
class SetWorkers:
    """Ask the upstream operator for another number of workers, by this merge patch or JSON patch.

    With `is_retry` it repeats a request, which happens only while no request of another run is being repeated.
    """

    resource: Resource
    name: str
    uid: str
    patch: Object | list[Object]
    is_retry: bool = False


class Amend(SetWorkers):
    """Change any other object by this merge patch or JSON patch."""


@dataclasses.dataclass(frozen=True)
class DropFinalizers:
    """Remove the finalizer of an upstream operator that does not answer from an object that is being deleted.

    Attributes:
        left: the finalizers that stay: those of other parties.
        version: the resource version at which the object had the finalizers that the decision was made on.
    """

    resource: Resource
    name: str
    uid: str
    left: tuple[str, ...]
    version: str


@dataclasses.dataclass(frozen=True)
class Emit:
    """A Kubernetes Event on the FlowRun."""

    type: str
    reason: str
    message: str


Action = Create | Delete | DropFinalizers | SetWorkers


class Resizing(NamedTuple):
    """What to do now about the number of workers, and in how many seconds to look again although nothing happens."""

    actions: tuple[Action, ...] = ()
    requeue: float | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a pass does: children first, then one status write, then events.

    `status` is the whole new status, or None to leave it. One that `may_wait` only shows how far the run is. `requeue`
    is seconds until the run must be looked at again even if nothing happens.
    """

    actions: tuple[Action, ...] = ()
    status: Object | None = None
    events: tuple[Emit, ...] = ()
    requeue: float | None = None
    may_wait: bool = False
