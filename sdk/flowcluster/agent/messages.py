"""What driver and agent say to each other: one JSON object in a line, on the agent's stdin and stdout.

What the agent is for stands on its command line, as nothing of it is secret.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from flowcluster.kube.choice import Choice


@dataclasses.dataclass(frozen=True)
class Job:
    """What the agent is for.

    Attributes:
        choice: which Kubernetes, as the driver was told.
        run, uid: name and UID of the FlowRun.
        lease: name of its Lease.
        duration: seconds of silence after which the operator counts the driver as gone.
        holder: who renews, for people.
        pid: the driver's process.
        adapts: whether it will be asked to tell what the cluster needs.
        ends: whether the driver's end is told in the Lease; that of one that the operator started, the kubelet tells.
        kind: Dask or Ray, the kind of the run's cluster; None without one.
        parent_lease: name of the Lease of the run whose child run it is; None for a run of its own.
    """

    choice: Choice
    run: str
    uid: str
    lease: str
    duration: int
    holder: str
    pid: int
    adapts: bool = False
    ends: bool = True
    parent_lease: str | None = None
    kind: str | None = None

    def to_json(self) -> str:
        """The job as text."""
        return json.dumps(dataclasses.asdict(self) | {"choice": self.choice._asdict()})

    @staticmethod
    def from_json(text: str) -> Job:
        """The job that a text means."""
        data = json.loads(text)
        return Job(**data | {"choice": Choice(**data["choice"])})


@dataclasses.dataclass(frozen=True)
class Forward:
    """The driver requests: carry connections to these ports of a pod.

    Attributes:
        pod: its name.
        ports: local ports by those of the pod; 0 where any local port serves.
        namespace: of the pod; None for the run's.
    """

    pod: str
    ports: dict[int, int]
    namespace: str | None = None


@dataclasses.dataclass(frozen=True)
class Adapt:
    """The driver asks: tell the operator what the cluster needs. The bounds stand in the FlowRun.

    Attributes:
        address: of the scheduler, from here.
        interval: seconds between two looks.
        target_duration: seconds in which tasks whose durations are known shall be done.
        up_delay, down_delay: seconds for which more or fewer workers must be needed before that is told.
        idle_seconds: for which a worker must have had nothing to do before it goes.
        when_edited: whether to begin only once the bounds differ from each other, or from what they are at first, or
            the run has an idle timeout.
    """

    address: str
    interval: float = 1.0
    target_duration: float = 5.0
    up_delay: float = 0.0
    down_delay: float = 5.0
    idle_seconds: float = 5.0
    when_edited: bool = False


@dataclasses.dataclass(frozen=True)
class Release:
    """The driver asks: end the lease with this outcome, as `flowcluster_api.driver.Outcome` writes it."""

    outcome: str


@dataclasses.dataclass(frozen=True)
class Counted:
    """The driver reports, every second, the task runs of its flow: see `flowcluster.context.Counts`."""

    total: int
    running: int
    completed: int
    failed: int
    unfinished: int


@dataclasses.dataclass(frozen=True)
class Forwarding:
    """The agent answers: these local ports lead to those of the pod; or why none does."""

    ports: dict[int, int]
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Lost:
    """The agent tells: the run is over, though nobody here ended it."""

    reason: str
    message: str


@dataclasses.dataclass(frozen=True)
class Trouble:
    """The agent tells: something does not work, and here is what."""

    message: str


@dataclasses.dataclass(frozen=True)
class Released:
    """The agent's last words: the lease was ended; or why it could not be, which leaves it to run out."""

    error: str | None = None


Message = Forward | Adapt | Release | Counted | Forwarding | Lost | Trouble | Released
_KINDS: dict[str, Any] = {
    kind.__name__: kind for kind in (Forward, Adapt, Release, Counted, Forwarding, Lost, Trouble, Released)
}


def write(message: Message) -> str:
    """The message as a line."""
    return json.dumps({"is": type(message).__name__, **dataclasses.asdict(message)}) + "\n"


def read(line: str) -> Message:
    """What a line says."""
    data = json.loads(line)
    kind = _KINDS[data.pop("is")]
    if ports := data.get("ports"):
        data["ports"] = {int(port): local for port, local in ports.items()}
    message: Message = kind(**data)
    return message
