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
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.resources import Object, Resource


class Key(NamedTuple):
    """One run. The UID is part of it: a run of the same name is another run."""

    namespace: str
    name: str
    uid: str


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
    """

    container: str
    limit: str | None


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
        preparing_since: since when its node has prepared volumes, network and images; None when it does not.
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
    preparing_since: dt.datetime | None = None


class DriverSigns(NamedTuple):
    """What is heard of a driver that runs elsewhere.

    Attributes:
        holder: who renews the run's Lease; None before anybody did.
        outcome: how it ended, as it says itself.
        silent: seconds since its last renewal, or the Lease itself, was first seen by this process.
        asked: seconds for which the API server has been asked, again and again, and knew of no other renewal.
        demand: what it needs of its cluster, if it says so.
    """

    holder: str | None
    outcome: Outcome | None
    silent: float
    asked: float
    demand: Demand | None = None


class Parent(NamedTuple):
    """The FlowRun that a run is beneath of: what owns it.

    Attributes:
        name: of that FlowRun.
        account: ServiceAccount of its driver.
        keys: name of the Secret with its driver's keys; None when there is no driver any more.
        is_over: whether it has finished.
    """

    name: str
    account: str
    keys: str | None
    is_over: bool


class Scale(NamedTuple):
    """Workers of a run: the bounds that hold after the administrator's limit, and the number wanted now."""

    minimum: int
    maximum: int
    target: int


class Settled(NamedTuple):
    """How long the cluster's number of workers has been at rest, in seconds.

    Attributes:
        same: since the number of its worker Deployments, or the number asked for, changed last.
        lowered: since the number asked for became smaller; infinite if it never did.
    """

    same: float = math.inf
    lowered: float = math.inf


_AT_REST = Settled()


@dataclasses.dataclass(frozen=True)
class Observed:
    """Everything a decision may look at. `run` is None when the FlowRun is gone and only children are left."""

    key: Key
    run: Object | None
    spec: FlowRunSpec | None = None
    cluster: Object | None = None
    job: Object | None = None
    lease: Object | None = None
    #: What gives the run's driver its rights.
    access: tuple[Object, ...] = ()
    #: Name of the Secret that this process has made for the run's keys.
    keys: str | None = None
    #: Names of image pull secrets by ServiceAccount; known while children are missing.
    pull_secrets: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    #: Name of the ConfigMap that this process created for the flow's parameters.
    parameters: str | None = None
    driver: DriverSigns | None = None
    parent: Parent | None = None
    settled: Settled = _AT_REST
    deployments: tuple[Object, ...] = ()
    pods: tuple[PodFacts, ...] = ()
    #: What an upstream operator made besides.
    latecomers: tuple[Object, ...] = ()
    warnings: tuple[Warned, ...] = ()
    #: Seconds until Events of what the run waits for are listed again; None when it waits for none.
    events_due: float | None = None
    rejections: tuple[Rejection, ...] = ()
    #: A listing of all kinds, made for this pass, found nothing of the run.
    verified_gone: bool = False
    #: The cluster that spec.cluster.ref names; None when there is none of that name.
    referenced: Object | None = None

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
        """The pods of the cluster's scheduler or head."""
        return [pod for pod in self.pods if pod.component in names.LEADERS.values()]


@dataclasses.dataclass(frozen=True)
class Create:
    """Create a child; finding it there already, with the run as its owner, is success."""

    resource: Resource
    body: Object


@dataclasses.dataclass(frozen=True)
class Delete:
    """Delete exactly this object (its UID is a precondition), its own dependents first.

    With `background` the object goes at once, and its dependents after it.
    """

    resource: Resource
    name: str
    uid: str
    background: bool = False


@dataclasses.dataclass(frozen=True)
class SetWorkers:
    """Ask the upstream operator for another number of workers, by this merge patch or JSON patch."""

    resource: Resource
    name: str
    uid: str
    patch: Object | list[Object]


@dataclasses.dataclass(frozen=True)
class DropFinalizers:
    """Let go of an object that is being deleted and whose own operator does not answer."""

    resource: Resource
    name: str
    uid: str


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

    `status` is the whole new status, or None to leave it. `requeue` is seconds until the run must be
    looked at again even if nothing happens.
    """

    actions: tuple[Action, ...] = ()
    status: Object | None = None
    events: tuple[Emit, ...] = ()
    requeue: float | None = None
