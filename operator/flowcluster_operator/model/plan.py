"""What a pass does: writes on children, one status write, and Events."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from flowcluster_operator.resources import Object, Resource


@dataclasses.dataclass(frozen=True)
class Create:
    """Create a child. If it exists already with the same controller, that counts as success.

    Attributes:
        resource: its kind.
        body: the object; of a Secret, without data.
        is_exchanged: whether the data of a Secret are credentials that a keeper has sealed for the run.
    """

    resource: Resource
    body: Object
    is_exchanged: bool = False


@dataclasses.dataclass(frozen=True)
class Delete:
    """Delete exactly this object: its UID is a precondition.

    Attributes:
        resource: its kind.
        name: its name.
        uid: its UID.
        background: whether its dependents are deleted after it; they are deleted before it otherwise.
        forced: whether a pod is deleted without waiting for its node to confirm its end.
    """

    resource: Resource
    name: str
    uid: str
    background: bool = False
    forced: bool = False


@dataclasses.dataclass(frozen=True)
class PatchObject:
    """Change exactly this object by a merge patch or a JSON patch: its UID is a precondition."""

    resource: Resource
    name: str
    uid: str
    patch: Object | list[Object]


@dataclasses.dataclass(frozen=True)
class SetWorkers(PatchObject):
    """Request another number of workers from the upstream operator.

    Attributes:
        is_retry: whether it repeats a request. At most one such request is in flight in the whole operator.
    """

    is_retry: bool = False


@dataclasses.dataclass(frozen=True)
class DropFinalizers:
    """Remove an upstream operator's finalizer from an object that is being deleted: that operator does not act.

    Attributes:
        resource: its kind.
        name: its name.
        uid: its UID.
        left: the finalizers of others, which stay.
        version: the resource version at which the object had these finalizers.
    """

    resource: Resource
    name: str
    uid: str
    left: tuple[str, ...]
    version: str


@dataclasses.dataclass(frozen=True)
class Emit:
    """Write a Kubernetes Event about the FlowRun or SharedCluster."""

    type: str
    reason: str
    message: str


Action = Create | Delete | DropFinalizers | PatchObject


class NextStep(NamedTuple):
    """What a policy does now, and the seconds until it must run again even if nothing happens; None for never."""

    actions: tuple[Action, ...] = ()
    requeue: float | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a pass does: actions first, then one status write, then Events.

    Attributes:
        actions: writes on children. They run concurrently.
        status: the whole new status; None to leave it as it is.
        events: Events about the FlowRun or SharedCluster.
        requeue: seconds until the next pass, even if nothing happens; None for never.
        may_wait: whether the write of the status can be delayed, because it only shows how far the run is.
    """

    actions: tuple[Action, ...] = ()
    status: Object | None = None
    events: tuple[Emit, ...] = ()
    requeue: float | None = None
    may_wait: bool = False
