"""Messages between a driver and its agent: one JSON object a line, on the agent's stdin and stdout.

The agent's job is an argument on its command line, where other users can read it. It contains no secrets.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from flowcluster.kube.choice import Choice


@dataclasses.dataclass(frozen=True)
class AgentJob:
    """What an agent does, and for which run.

    Attributes:
        choice: the Kubernetes to use, as configured in the driver.
        run, uid: name and UID of the FlowRun.
        lease: name of its Lease.
        duration: seconds without a renewal after which the operator counts the driver as lost.
        holder: name of the process that renews the Lease, for users.
        pid: id of the driver's process.
        adapts: whether an `Adapt` request follows.
        ends: whether the agent writes the driver's end into the Lease. It does not for a driver that the operator
            started: the kubelet reports the end of its pod.
        parent_lease: name of the parent's Lease for a child run, else None.
        kind: kind of the run's cluster, Dask or Ray; None without a cluster.
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
        """Return the job as JSON."""
        return json.dumps(dataclasses.asdict(self) | {"choice": self.choice._asdict()})

    @staticmethod
    def from_json(text: str) -> AgentJob:
        """Return the job that `to_json` wrote."""
        data = json.loads(text)
        return AgentJob(**data | {"choice": Choice(**data["choice"])})


@dataclasses.dataclass(frozen=True)
class Forward:
    """Request of the driver: forward connections to these ports of a pod.

    Attributes:
        pod: its name.
        ports: local ports, by the ports of the pod; 0 for any free local port.
        namespace: of the pod; None for the run's.
    """

    pod: str
    ports: dict[int, int]
    namespace: str | None = None


@dataclasses.dataclass(frozen=True)
class Adapt:
    """Request of the driver: report the demand for workers to the operator. The FlowRun has the bounds.

    Attributes:
        address: of the scheduler, as seen from this machine.
        interval: seconds between two polls of the scheduler.
        target_duration: seconds in which all tasks of known duration should end.
        up_delay, down_delay: seconds for which more or fewer workers must be needed before the demand changes.
        idle_seconds: seconds for which a worker must have had no work before it retires.
        when_edited: whether the agent first waits for an edit of the FlowRun that makes the reports necessary: see
            `flowcluster.agent.worker_bounds`.
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
    """Request of the driver: end the lease with this outcome, in the form of `Outcome.to_json`."""

    outcome: str


@dataclasses.dataclass(frozen=True)
class Counted:
    """Report of the driver, every second: the task runs of its flow, as in `flowcluster.context.Counts`."""

    total: int
    running: int
    completed: int
    failed: int
    unfinished: int


@dataclasses.dataclass(frozen=True)
class Forwarding:
    """Answer of the agent to `Forward`: the local ports, by the ports of the pod; or the error."""

    ports: dict[int, int]
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Lost:
    """Report of the agent: the run has ended, but this driver has not ended it."""

    reason: str
    message: str


@dataclasses.dataclass(frozen=True)
class Trouble:
    """Report of the agent: a failure that the driver logs."""

    message: str


@dataclasses.dataclass(frozen=True)
class Released:
    """Last message of the agent: the lease has ended, or the error because of which it lasts until it expires."""

    error: str | None = None


Message = Forward | Adapt | Release | Counted | Forwarding | Lost | Trouble | Released
_KINDS: dict[str, Any] = {
    kind.__name__: kind for kind in (Forward, Adapt, Release, Counted, Forwarding, Lost, Trouble, Released)
}


def write(message: Message) -> str:
    """Return the message as a line of JSON."""
    return json.dumps({"is": type(message).__name__, **dataclasses.asdict(message)}) + "\n"


def read(line: str) -> Message:
    """Return the message that `write` wrote."""
    data = json.loads(line)
    kind = _KINDS[data.pop("is")]
    if ports := data.get("ports"):
        data["ports"] = {int(port): local for port, local in ports.items()}
    message: Message = kind(**data)
    return message
