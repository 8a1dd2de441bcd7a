"""Whether a run is over, and how: the first rule that holds decides."""

from __future__ import annotations

import dataclasses
import datetime as dt

from flowcluster_api import conditions as c
from flowcluster_api import driver, names
from flowcluster_api.driver import Outcome
from flowcluster_operator.facts import last_line
from flowcluster_operator.model import Blocked, Ended, Observed, PodFacts
from flowcluster_operator.policies import idleness
from flowcluster_operator.policies.advice import advice, crash_advice
from flowcluster_operator.policies.causes import Cause
from flowcluster_operator.policies.cluster_lost import cluster_lost, lease_lost
from flowcluster_operator.policies.dead_node import unconfirmed
from flowcluster_operator.policies.deadlines import passed
from flowcluster_operator.policies.lease import silence
from flowcluster_operator.policies.losses import with_losses
from flowcluster_operator.policies.parts import Part, part_of
from flowcluster_operator.policies.retries import attempts, has_more
from flowcluster_operator.resources import Object

_PHASES: dict[driver.OutcomeState, c.Phase] = {
    "Completed": "Succeeded",
    "Failed": "Failed",
    "Crashed": "Failed",
    "Cancelled": "Cancelled",
}


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a run ended: `phase` is where it will be when everything is cleaned up.

    Attributes:
        is_loss: whether the operator observed that the run's cluster is lost: the run may begin again on another one.
    """

    phase: c.Phase
    reason: str
    message: str
    exit_code: int | None = None
    outcome: Outcome | None = None
    is_loss: bool = False


def ending(observed: Observed, status: Object, why: Cause | None, now: dt.datetime) -> Ending | None:
    """The run's end, or None while it goes on. `why` is what holds it up, if anything does.

    How a driver ended that the operator stopped is of no account: that of a run that is suspended, or that begins again
    on another cluster. The deadlines of the latter go on.
    """
    assert observed.spec is not None
    dormant = is_dormant(status)
    if observed.invalid is not None and not observed.spec.cancel:
        return Ending("Failed", c.INVALID_SPEC, observed.invalid)
    last = None if dormant else driver_end(observed) or _said(observed)
    if last is not None and last.phase == "Succeeded":
        return last
    if observed.spec.cancel:
        return Ending("Cancelled", c.CANCELLED, "cancelled by spec.cancel")
    if observed.parent is not None and observed.parent.is_over and last is None:
        message = f"FlowRun {observed.parent.name} has ended, and this run was a part of it"
        return Ending("Cancelled", c.PARENT_ENDED, message)
    if dormant:
        return None if is_suspended(status) else _too_late(observed, status, None, now)
    has_cluster = observed.spec.cluster is not None and not observed.is_guest
    deleted = lease_lost(observed, status)
    if lost := (deleted if has_cluster else None) or cluster_lost(observed, status):
        return Ending("Failed", c.CLUSTER_LOST, lost, is_loss=True)
    if last is not None:
        return dataclasses.replace(last, message=with_losses(last.message, observed, status))
    if deleted is not None:
        return Ending("Failed", c.DRIVER_LOST, deleted)
    return (
        _driver_gone(observed, status, now)
        or _silent(observed)
        or _too_late(observed, status, why, now)
        or _idle(observed, status)
    )


def is_suspended(status: Object) -> bool:
    """Whether the run was suspended, and did not start again."""
    return status.get("phase") == "Suspended"


def is_rebuilding(status: Object) -> bool:
    """Whether the run has lost its cluster, and what is left of that has to go before another one is begun."""
    return "lostTime" in status


def is_dormant(status: Object) -> bool:
    """Whether nothing of the run must exist for now."""
    return is_suspended(status) or is_rebuilding(status)


def driver_end(observed: Observed) -> Ending | None:
    """How the driver's last pod ended, once no other attempt will follow."""
    assert observed.spec is not None
    pods = attempts(observed)
    if not pods or observed.spec.flow is None:
        return None
    found = attempt_end(observed, pods[-1])
    if found is None or found.phase == "Succeeded" or _job_condition(observed, "Failed") is not None:
        return found
    return None if has_more(observed, found.exit_code) else found


def attempt_end(observed: Observed, pod: PodFacts) -> Ending | None:
    """Return how one attempt ended; None while it runs."""
    if pod.ended is None:
        return None
    kind = observed.spec.cluster.kind if observed.spec and observed.spec.cluster else None
    return _read(pod, pod.ended, part_of(names.COMPONENT_DRIVER, kind))


def _read(pod: PodFacts, ended: Ended, part: Part) -> Ending:
    outcome = _outcome(ended)
    if outcome is not None and outcome.state == "Completed" and ended.exit_code == 0:
        return Ending("Succeeded", outcome.reason, outcome.message, ended.exit_code, outcome)
    if pod.failure is not None:  # the kubelet or a controller ended the pod: exit code and outcome follow from that
        advised = advice(pod.failure, part, names.COMPONENT_DRIVER, pod.name)
        message = f"pod {pod.name}: {pod.failure.message or pod.failure.reason}; {advised}"
        return Ending("Failed", pod.failure.reason, message, ended.exit_code, outcome)
    if outcome is None:
        return _without_outcome(pod, ended, part)
    if outcome.state == "Cancelled":
        # Without spec.cancel: its node was drained, or a client deleted the pod.
        why = f" ({pod.disrupted.reason}: {pod.disrupted.message})" if pod.disrupted else ""
        message = f"pod {pod.name} was stopped from outside{why}: {outcome.message}"
        return Ending("Failed", c.DRIVER_LOST, message, ended.exit_code, outcome)
    return Ending("Failed", outcome.reason, outcome.message, ended.exit_code, outcome)


def _outcome(ended: Ended) -> Outcome | None:
    try:
        return Outcome.from_json(ended.text)
    except ValueError:
        return None


#: Exit codes of a process that SIGKILL or SIGTERM ended: the kubelet sends both when a pod is deleted.
_SIGNALLED = (137, 143)


def _without_outcome(pod: PodFacts, ended: Ended, part: Part) -> Ending:
    tail = last_line(ended.text)
    if ended.reason == "OOMKilled":
        killed = pod.out_of_memory
        limit = f" of {killed.limit}" if killed is not None and killed.limit else ""
        message = (
            f"the driver was killed at its memory limit{limit} (OOMKilled): raise limits.memory in {part.resources}"
        )
        return Ending("Failed", c.OUT_OF_MEMORY, message, ended.exit_code)
    if ended.reason in ("StartError", "ContainerCannotRun"):
        advised = advice(Blocked(ended.reason, tail), part, names.COMPONENT_DRIVER, pod.name)
        return Ending("Failed", ended.reason, f"the driver cannot be started: {tail}; {advised}", ended.exit_code)
    if ended.exit_code < 0:  # the node or the kubelet ended the pod: its word is the cause
        return Ending("Failed", ended.reason or c.DRIVER_LOST, f"pod {pod.name}: {tail or ended.reason}")
    if pod.terminating and ended.exit_code in _SIGNALLED:
        message = f"pod {pod.name} was deleted while the flow ran"
        return Ending("Failed", c.DRIVER_LOST, message, ended.exit_code)
    why = f" ({pod.disrupted.reason}: {pod.disrupted.message})" if pod.disrupted else ""
    message = f"the driver exited with code {ended.exit_code} and left no outcome{why}"
    message = f"{message}: {tail}" if tail else message
    advised = crash_advice(f"exit code {ended.exit_code}: {tail}", part) or ""
    return Ending("Failed", c.DRIVER_CRASHED, f"{message}; {advised}" if advised else message, ended.exit_code)


def _job_condition(observed: Observed, kind: str) -> Object | None:
    conditions = ((observed.job or {}).get("status") or {}).get("conditions") or []
    return next((item for item in conditions if item["type"] == kind and item["status"] == "True"), None)


def _driver_gone(observed: Observed, status: Object, now: dt.datetime) -> Ending | None:
    assert observed.spec is not None
    job = (status.get("flow") or {}).get("job")
    if observed.spec.flow is None or not job:
        return None
    if observed.job is None or "deletionTimestamp" in observed.job["metadata"]:
        return Ending("Failed", c.DRIVER_LOST, f"Job {job} was deleted while the flow ran")
    if gone := unconfirmed(observed, now):
        return Ending("Failed", c.DRIVER_LOST, gone)
    failed = _job_condition(observed, "Failed")
    if failed is not None:
        return Ending("Failed", c.DRIVER_LOST, f"the driver's pod is gone: {failed.get('message') or 'removed'}")
    if _job_condition(observed, "Complete") is not None and not observed.of(names.COMPONENT_DRIVER):
        # Not a success: a flow that was left by sys.exit(0) ends with the same exit code.
        lost = f"Job {job} is complete, and its pod was removed before its outcome was read: whether the flow succeeded"
        return Ending("Failed", c.DRIVER_LOST, f"{lost} is not known", driver.EXIT_COMPLETED)
    return None


def _said(observed: Observed) -> Ending | None:
    """The end of a driver that runs elsewhere, in its own words."""
    assert observed.spec is not None
    outcome = observed.driver.outcome if observed.driver is not None else None
    if outcome is None or observed.spec.flow is not None:
        return None
    return Ending(_PHASES[outcome.state], outcome.reason, outcome.message, outcome.exit_code, outcome)


def _silent(observed: Observed) -> Ending | None:
    silent = silence(observed)
    if silent is None:
        return None
    spec, signs = observed.spec, observed.driver
    was_due = spec is not None and (spec.lease_duration_seconds is not None or (signs is not None and signs.holder))
    return Ending("Failed", c.DRIVER_LOST if was_due else c.START_DEADLINE_EXCEEDED, silent)


def _idle(observed: Observed, status: Object) -> Ending | None:
    """The end of an idle run. A flow has not completed; where only a cluster was asked for, nothing has failed."""
    assert observed.spec is not None
    message = idleness.exceeded(observed, status)
    if message is None:
        return None
    return Ending("Cancelled" if observed.spec.flow is None else "Failed", c.IDLE_TIMEOUT_EXCEEDED, message)


def _too_late(observed: Observed, status: Object, why: Cause | None, now: dt.datetime) -> Ending | None:
    assert observed.spec is not None
    late = passed(status, observed.spec, now)
    if late is None:
        return None
    if not late.is_start:
        return Ending("Failed", c.DEADLINE_EXCEEDED, late.message)
    if why is not None:
        return Ending("Failed", why.reason, f"{late.message}: {why.message}")
    known = status.get("message") or "no cause is known"
    return Ending("Failed", c.START_DEADLINE_EXCEEDED, f"{late.message}: {known}")
