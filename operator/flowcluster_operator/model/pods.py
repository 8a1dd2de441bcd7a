"""The parts of a pod's state that policies read."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import NamedTuple


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a container ended.

    Attributes:
        exit_code: its exit code; -1 where the pod failed and the end of no container is known.
        reason: the kubelet's reason.
        text: the termination message.
    """

    exit_code: int
    reason: str
    text: str


class Blocked(NamedTuple):
    """Why a pod does not run.

    Attributes:
        reason: one CamelCase word of kube-scheduler, the kubelet or a controller.
        message: of the same.
        container: name of the container that is the cause; empty for the pod as a whole.
    """

    reason: str
    message: str
    container: str = ""


class OutOfMemory(NamedTuple):
    """A container that Kubernetes killed at its memory limit.

    Attributes:
        container: its name.
        limit: its memory limit; None where it has none, and its node had no more memory.
        is_reported: whether the kubelet reported OOMKilled. If not, the only sign is a SIGKILL that nothing else
        explains.
    """

    container: str
    limit: str | None
    is_reported: bool = True


@dataclasses.dataclass(frozen=True)
class PodFacts:
    """The fields of a pod that policies read.

    Attributes:
        stage: how far its start is.
        blocked: why it does not run, when Kubernetes has reported a reason.
        ended: how its main container ended, or how the pod failed where no container's end is known.
        last_end: how its main container ended last, also when it runs again.
        failure: why the kubelet or a controller ended the whole pod, such as an eviction.
        disrupted: reason and message of the condition DisruptionTarget, such as a drain of its node.
        out_of_memory: the first container whose current or last end is OOMKilled.
        gone_by: when its grace period ends, if it is being deleted.
        is_forced: whether it is being deleted without a grace period, so that it does not wait for its node.
        preparing_since: since when its node has prepared volumes, network and images; None when the node does not.
        lingering_since: since when its main container has ended while other containers run; None otherwise.
        group: the further worker group that a worker belongs to; empty for other workers and other components.
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
    lingering_since: dt.datetime | None = None
    group: str = ""
