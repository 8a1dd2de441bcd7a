"""The state of a pod, as far as policies read it."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import NamedTuple


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a container ended.

    Attributes:
        exit_code: its exit code; -1 where no container ended, but the pod failed.
        reason: the kubelet's reason.
        text: the termination message.
    """

    exit_code: int
    reason: str
    text: str


class Blocked(NamedTuple):
    """Why a pod does not run.

    Attributes:
        reason: one CamelCase word of the scheduler, the kubelet or a controller.
        message: its message.
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
        is_reported: whether the kubelet reported OOMKilled. If not, a SIGKILL without another explanation shows it.
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
        ended: how its main container ended, or the pod where no container ended.
        last_end: how its main container ended last, also when it runs again.
        failure: why the kubelet or a controller ended the whole pod, such as an eviction.
        disrupted: reason and message of the condition DisruptionTarget, such as a drain of its node.
        out_of_memory: the first container whose current or last end is OOMKilled.
        gone_by: when its grace period ends, of a pod that is being deleted.
        is_forced: whether it is being deleted without a grace period: it does not wait for its node.
        preparing_since: since when its node has prepared volumes, network and images; None when it does not.
        lingering_since: since when its main container has ended while other containers run; None otherwise.
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
    lingering_since: dt.datetime | None = None
    group: str = ""
