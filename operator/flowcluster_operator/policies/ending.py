"""Whether a run is over, and how: the first rule that holds decides."""

from __future__ import annotations

import dataclasses
import datetime as dt

from flowcluster_api import conditions as c
from flowcluster_api import driver, names
from flowcluster_api.driver import Outcome
from flowcluster_operator.facts import last_line, parse_time
from flowcluster_operator.model import Ended, Observed, PodFacts
from flowcluster_operator.policies.causes import Cause
from flowcluster_operator.policies.cluster_lost import cluster_lost
from flowcluster_operator.policies.lease import silence
from flowcluster_operator.resources import Object

_PHASES: dict[driver.OutcomeState, c.Phase] = {
    "Completed": "Succeeded",
    "Failed": "Failed",
    "Crashed": "Failed",
    "Cancelled": "Cancelled",
}


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a run ended: `phase` is where it will be when everything is cleaned up."""

    phase: c.Phase
    reason: str
    message: str
    exit_code: int | None = None
    outcome: Outcome | None = None


def ending(observed: Observed, status: Object, why: Cause | None, now: dt.datetime) -> Ending | None:
    """The run's end, or None while it goes on. `why` is what holds it up, if anything does.

    How a driver ended that was suspended is of no account: it was stopped for that.
    """
    assert observed.spec is not None
    dormant = is_suspended(status)
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
        return None
    if lost := cluster_lost(observed, status):
        return Ending("Failed", c.CLUSTER_LOST, lost)
    return last or _driver_gone(observed, status) or _silent(observed) or _too_late(observed, status, why, now)


def is_suspended(status: Object) -> bool:
    """Whether the run was suspended, and did not start again."""
    return status.get("phase") == "Suspended"


def driver_end(observed: Observed) -> Ending | None:
    """What the driver's last pod says, once no other attempt will follow."""
    assert observed.spec is not None
    pods = sorted(observed.of(names.COMPONENT_DRIVER), key=lambda pod: pod.created)
    if not pods or pods[-1].ended is None or observed.spec.flow is None:
        return None
    found = _read(pods[-1], pods[-1].ended)
    retried = len(pods) <= observed.spec.flow.backoff_limit and found.exit_code != driver.EXIT_USAGE
    if found.phase != "Succeeded" and retried and _job_condition(observed, "Failed") is None:
        return None
    return found


def _read(pod: PodFacts, ended: Ended) -> Ending:
    try:
        outcome = Outcome.from_json(ended.text)
    except ValueError:
        return _without_outcome(pod, ended)
    if outcome.state == "Cancelled":
        # Nobody asked for it through spec.cancel: its node was drained, or somebody deleted the pod.
        message = f"pod {pod.name} was stopped from outside: {outcome.message}"
        return Ending("Failed", c.DRIVER_LOST, message, ended.exit_code, outcome)
    phase: c.Phase = "Succeeded" if outcome.state == "Completed" and ended.exit_code == 0 else "Failed"
    return Ending(phase, outcome.reason, outcome.message, ended.exit_code, outcome)


def _without_outcome(pod: PodFacts, ended: Ended) -> Ending:
    tail = last_line(ended.text)
    if ended.reason == "OOMKilled":
        message = "the driver was killed at its memory limit: raise it in spec.flow.template"
        return Ending("Failed", c.OUT_OF_MEMORY, message, ended.exit_code)
    if ended.reason in ("StartError", "ContainerCannotRun"):
        message = f"the driver cannot be started: {tail}; does the image have flowcluster installed?"
        return Ending("Failed", ended.reason, message, ended.exit_code)
    if ended.exit_code < 0:  # the node or the kubelet ended the pod: its word is the cause
        return Ending("Failed", ended.reason or c.DRIVER_LOST, f"pod {pod.name}: {tail or ended.reason}")
    message = f"the driver exited with code {ended.exit_code} and left no outcome"
    return Ending("Failed", c.DRIVER_CRASHED, f"{message}: {tail}" if tail else message, ended.exit_code)


def _job_condition(observed: Observed, kind: str) -> Object | None:
    conditions = ((observed.job or {}).get("status") or {}).get("conditions") or []
    return next((item for item in conditions if item["type"] == kind and item["status"] == "True"), None)


def _driver_gone(observed: Observed, status: Object) -> Ending | None:
    assert observed.spec is not None
    job = (status.get("flow") or {}).get("job")
    if observed.spec.flow is None or not job:
        return None
    if observed.job is None or "deletionTimestamp" in observed.job["metadata"]:
        return Ending("Failed", c.DRIVER_LOST, f"Job {job} was deleted while the flow ran")
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
    said = silence(observed)
    return None if said is None else Ending("Failed", c.DRIVER_LOST, said)


def _too_late(observed: Observed, status: Object, why: Cause | None, now: dt.datetime) -> Ending | None:
    assert observed.spec is not None
    if "startTime" not in status:
        return None
    seconds = (now - parse_time(status["startTime"])).total_seconds()
    limit = observed.spec.active_deadline_seconds
    if limit is not None and seconds >= limit:
        return Ending("Failed", c.DEADLINE_EXCEEDED, f"still going after {limit} s (spec.activeDeadlineSeconds)")
    limit = observed.spec.start_deadline_seconds
    if "readyTime" in status or seconds < limit:
        return None
    late = f"not started within {limit} s (spec.startDeadlineSeconds)"
    if why is not None:
        return Ending("Failed", why.reason, f"{late}: {why.message}")
    return Ending("Failed", c.START_DEADLINE_EXCEEDED, f"{late}: {status.get('message') or 'no cause is known'}")
