"""The final state of a run: whether it is over, and how. The first rule that holds decides."""

from __future__ import annotations

import dataclasses
import datetime as dt

from flowcluster_api import conditions as c
from flowcluster_api import driver, names
from flowcluster_api.driver import Outcome
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.policies import idleness
from flowcluster_operator.policies.causes import Cause
from flowcluster_operator.policies.dead_node import unconfirmed
from flowcluster_operator.policies.deadlines import passed
from flowcluster_operator.policies.driver_end import DriverEnd, driver_end, job_condition, reported_end
from flowcluster_operator.policies.heartbeat import missed_heartbeat
from flowcluster_operator.policies.lost_workers import with_lost_workers
from flowcluster_operator.policies.run_phases import is_suspended, must_be_empty
from flowcluster_operator.policies.scheduler_or_head_lost import cluster_lost, lease_lost
from flowcluster_operator.resources import Object


@dataclasses.dataclass(frozen=True)
class FinalState:
    """How a run ended.

    Attributes:
        phase: the phase of the run once nothing of it is left.
        reason: one CamelCase word.
        message: one line.
        exit_code: of the driver; None where it is not known.
        outcome: what the driver reported; None where it did not.
        is_loss: whether the operator observed that the run's cluster is lost: the run may start again on another one.
    """

    phase: c.Phase
    reason: str
    message: str
    exit_code: int | None = None
    outcome: Outcome | None = None
    is_loss: bool = False


def final_state(observed: Observed, status: Object, why: Cause | None, now: dt.datetime) -> FinalState | None:
    """Return the final state of a run; None while it goes on.

    While nothing of the run must exist (`run_phases`), the end of its driver does not count: the operator stopped it.
    Deadlines still count for a run that starts again on another cluster, but not for one that is suspended.

    Args:
        observed: the run.
        status: of the run.
        why: the cause that holds the run up; None where there is none.
        now: the time.
    """
    is_stopped = must_be_empty(status)
    if observed.invalid is not None and not observed.spec.cancel:
        return FinalState("Failed", c.INVALID_SPEC, observed.invalid)
    last = None if is_stopped else driver_end(observed) or reported_end(observed)
    if last is not None and last.phase == "Succeeded":
        return _of_driver(last, last.message)
    if observed.spec.cancel:
        return FinalState("Cancelled", c.CANCELLED, "cancelled by spec.cancel")
    if observed.parent is not None and observed.parent.is_over and last is None:
        message = f"FlowRun {observed.parent.name} has ended, and this run was a part of it"
        return FinalState("Cancelled", c.PARENT_ENDED, message)
    if is_stopped:
        return None if is_suspended(status) else _too_late(observed, status, None, now)
    has_cluster = observed.spec.cluster is not None and not observed.uses_existing_cluster
    deleted = lease_lost(observed, status)
    if lost := (deleted if has_cluster else None) or cluster_lost(observed, status):
        return FinalState("Failed", c.CLUSTER_LOST, lost, is_loss=True)
    if last is not None:
        return _of_driver(last, with_lost_workers(last.message, observed, status))
    if deleted is not None:
        return FinalState("Failed", c.DRIVER_LOST, deleted)
    return (
        _driver_gone(observed, status, now)
        or _lease_expired(observed)
        or _too_late(observed, status, why, now)
        or _idle(observed, status)
    )


def _of_driver(end: DriverEnd, message: str) -> FinalState:
    return FinalState(end.phase, end.reason, message, end.exit_code, end.outcome)


def _driver_gone(observed: Observed, status: Object, now: dt.datetime) -> FinalState | None:
    job = (status.get("flow") or {}).get("job")
    if observed.spec.flow is None or not job:
        return None
    if observed.job is None or "deletionTimestamp" in observed.job["metadata"]:
        return FinalState("Failed", c.DRIVER_LOST, f"Job {job} was deleted while the flow ran")
    if gone := unconfirmed(observed, now):
        return FinalState("Failed", c.DRIVER_LOST, gone)
    failed = job_condition(observed, "Failed")
    if failed is not None:
        return FinalState("Failed", c.DRIVER_LOST, f"the driver's pod is gone: {failed.get('message') or 'removed'}")
    if job_condition(observed, "Complete") is not None and not observed.of(names.COMPONENT_DRIVER):
        # It does not count as a success: a flow that calls sys.exit(0) ends with the same exit code.
        lost = f"Job {job} is complete, and its pod was removed before its outcome was read: whether the flow succeeded"
        return FinalState("Failed", c.DRIVER_LOST, f"{lost} is not known", driver.EXIT_COMPLETED)
    return None


def _lease_expired(observed: Observed) -> FinalState | None:
    message = missed_heartbeat(observed)
    if message is None:
        return None
    holder = observed.driver.holder if observed.driver is not None else None
    was_due = observed.spec.lease_duration_seconds is not None or holder
    return FinalState("Failed", c.DRIVER_LOST if was_due else c.START_DEADLINE_EXCEEDED, message)


def _idle(observed: Observed, status: Object) -> FinalState | None:
    """Return the final state of an idle run: Failed with a flow, which did not complete; Cancelled without a flow."""
    message = idleness.idle_timeout_exceeded(observed, status)
    if message is None:
        return None
    return FinalState("Cancelled" if observed.spec.flow is None else "Failed", c.IDLE_TIMEOUT_EXCEEDED, message)


def _too_late(observed: Observed, status: Object, why: Cause | None, now: dt.datetime) -> FinalState | None:
    late = passed(status, observed.spec, now)
    if late is None:
        return None
    if not late.is_start:
        return FinalState("Failed", c.DEADLINE_EXCEEDED, late.message)
    if why is not None:
        return FinalState("Failed", why.reason, f"{late.message}: {why.message}")
    known = status.get("message") or "no cause is known"
    return FinalState("Failed", c.START_DEADLINE_EXCEEDED, f"{late.message}: {known}")
