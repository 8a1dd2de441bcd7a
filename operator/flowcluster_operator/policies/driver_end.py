"""How a driver ended: from the exit of its container and its termination message, or from its Lease."""

from __future__ import annotations

from typing import NamedTuple

from flowcluster_api import conditions as c
from flowcluster_api import driver, names
from flowcluster_api.driver import Outcome
from flowcluster_operator.log_tail import last_line
from flowcluster_operator.model.conditions import true_condition
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.pods import Blocked, Ended, PodFacts
from flowcluster_operator.policies.advice import advice, crash_advice
from flowcluster_operator.policies.backoff_limit import attempts, has_attempts_left
from flowcluster_operator.policies.spec_fields import SpecFields, fields_of
from flowcluster_operator.resources import Object

_PHASES: dict[driver.OutcomeState, c.Phase] = {
    "Completed": "Succeeded",
    "Failed": "Failed",
    "Crashed": "Failed",
    "Cancelled": "Cancelled",
}
#: Exit codes of a process that SIGKILL or SIGTERM ended: the kubelet sends both when a pod is deleted.
_SIGNALLED = (137, 143)


class DriverEnd(NamedTuple):
    """How a driver ended.

    Attributes:
        phase: the phase of a run that ends with it.
        reason: one CamelCase word.
        message: one line.
        exit_code: of the driver; None where it is not known.
        outcome: what the driver reported; None where it did not.
    """

    phase: c.Phase
    reason: str
    message: str
    exit_code: int | None = None
    outcome: Outcome | None = None


def driver_end(observed: Observed) -> DriverEnd | None:
    """Return how the driver's last pod ended; None while it runs, or where the Job starts another one."""
    pods = attempts(observed)
    if not pods or observed.spec.flow is None:
        return None
    found = attempt_end(observed, pods[-1])
    if found is None or found.phase == "Succeeded" or job_condition(observed, "Failed") is not None:
        return found
    return None if has_attempts_left(observed, found.exit_code) else found


def attempt_end(observed: Observed, pod: PodFacts) -> DriverEnd | None:
    """Return how one attempt ended; None while it runs."""
    if pod.ended is None:
        return None
    kind = observed.spec.cluster.kind if observed.spec.cluster else None
    return _read(pod, pod.ended, fields_of(names.COMPONENT_DRIVER, kind))


def reported_end(observed: Observed) -> DriverEnd | None:
    """Return the end that a driver outside the run's pods reports in the Lease; None while it reports none."""
    outcome = observed.driver.outcome if observed.driver is not None else None
    if outcome is None or observed.spec.flow is not None:
        return None
    return DriverEnd(_PHASES[outcome.state], outcome.reason, outcome.message, outcome.exit_code, outcome)


def job_condition(observed: Observed, kind: str) -> Object | None:
    """Return the condition of the run's Job of that type, if it is True."""
    return true_condition(observed.job, kind)


def _read(pod: PodFacts, ended: Ended, fields: SpecFields) -> DriverEnd:
    outcome = _outcome(ended)
    if outcome is not None and outcome.state == "Completed" and ended.exit_code == 0:
        return DriverEnd("Succeeded", outcome.reason, outcome.message, ended.exit_code, outcome)
    if pod.failure is not None:  # the kubelet or a controller ended the pod: exit code and outcome follow from that
        advised = advice(pod.failure, fields, names.COMPONENT_DRIVER, pod.name)
        message = f"pod {pod.name}: {pod.failure.message or pod.failure.reason}; {advised}"
        return DriverEnd("Failed", pod.failure.reason, message, ended.exit_code, outcome)
    if outcome is None:
        return _without_outcome(pod, ended, fields)
    if outcome.state == "Cancelled":
        # Without spec.cancel: its node was drained, or a client deleted the pod.
        why = f" ({pod.disrupted.reason}: {pod.disrupted.message})" if pod.disrupted else ""
        message = f"pod {pod.name} was stopped from outside{why}: {outcome.message}"
        return DriverEnd("Failed", c.DRIVER_LOST, message, ended.exit_code, outcome)
    return DriverEnd("Failed", outcome.reason, outcome.message, ended.exit_code, outcome)


def _outcome(ended: Ended) -> Outcome | None:
    try:
        return Outcome.from_json(ended.text)
    except ValueError:
        return None


def _without_outcome(pod: PodFacts, ended: Ended, fields: SpecFields) -> DriverEnd:
    tail = last_line(ended.text)
    if ended.reason == "OOMKilled":
        killed = pod.out_of_memory
        limit = f" of {killed.limit}" if killed is not None and killed.limit else ""
        message = (
            f"the driver was killed at its memory limit{limit} (OOMKilled): raise limits.memory in {fields.resources}"
        )
        return DriverEnd("Failed", c.OUT_OF_MEMORY, message, ended.exit_code)
    if ended.reason in ("StartError", "ContainerCannotRun"):
        advised = advice(Blocked(ended.reason, tail), fields, names.COMPONENT_DRIVER, pod.name)
        return DriverEnd("Failed", ended.reason, f"the driver cannot be started: {tail}; {advised}", ended.exit_code)
    if ended.exit_code < 0:  # the node or the kubelet ended the pod: its message is the cause
        return DriverEnd("Failed", ended.reason or c.DRIVER_LOST, f"pod {pod.name}: {tail or ended.reason}")
    if pod.terminating and ended.exit_code in _SIGNALLED:
        message = f"pod {pod.name} was deleted while the flow ran"
        return DriverEnd("Failed", c.DRIVER_LOST, message, ended.exit_code)
    why = f" ({pod.disrupted.reason}: {pod.disrupted.message})" if pod.disrupted else ""
    message = f"the driver exited with code {ended.exit_code} and left no outcome{why}"
    message = f"{message}: {tail}" if tail else message
    advised = crash_advice(f"exit code {ended.exit_code}: {tail}", fields) or ""
    return DriverEnd("Failed", c.DRIVER_CRASHED, f"{message}; {advised}" if advised else message, ended.exit_code)
