"""What a pass does that cannot observe or decide: the run's spec and status are all that it knows. Pure.

The cause stands in status, and what a user or a deadline ends still ends.
"""

from __future__ import annotations

import datetime as dt

from flowcluster_api import conditions as c
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.facts import parse_time
from flowcluster_operator.model import Plan, Trouble
from flowcluster_operator.policies.causes import trouble_cause
from flowcluster_operator.reconcile import progress
from flowcluster_operator.resources import Object
from flowcluster_operator.status import Draft, is_true


def failing(run: Object, spec: FlowRunSpec, trouble: Trouble, now: dt.datetime) -> Plan:
    """Return the plan for a run whose passes fail: a status write, and nothing else."""
    draft = Draft(run, now)
    if "deletionTimestamp" in run["metadata"] or is_true(draft.status, c.CLUSTER_DELETED):
        return Plan()
    if is_true(draft.status, c.FINISHED):
        draft.condition(c.CLUSTER_DELETED, False, c.CLEANING_UP, trouble.message)
        return Plan(status=draft.changed())
    if spec.cancel:
        return _finish(draft, "Cancelled", c.CANCELLED, "cancelled by spec.cancel")
    if late := _deadline(draft.status, spec, now):
        return _finish(draft, "Failed", trouble.reason, f"{late}: {trouble.message}")
    if draft.status.get("phase") not in ("Suspended", "Stopping", *c.FINAL_PHASES):
        if not draft.status.get("phase"):
            draft.phase("Starting")
        draft.stamp("startTime")
    progress.explain(draft, trouble_cause(trouble))
    return Plan(status=draft.changed(), events=tuple(draft.events))


def _deadline(status: Object, spec: FlowRunSpec, now: dt.datetime) -> str | None:
    if "startTime" not in status:
        return None
    seconds = (now - parse_time(status["startTime"])).total_seconds()
    if spec.active_deadline_seconds is not None and seconds >= spec.active_deadline_seconds:
        return f"still going after {spec.active_deadline_seconds} s (spec.activeDeadlineSeconds)"
    if "readyTime" not in status and seconds >= spec.start_deadline_seconds:
        return f"not started within {spec.start_deadline_seconds} s (spec.startDeadlineSeconds)"
    return None


def _finish(draft: Draft, phase: c.Phase, reason: str, message: str) -> Plan:
    if draft.status.get("phase") in c.FINAL_PHASES:
        return Plan()
    draft.phase("Stopping")
    draft.stamp("finishTime")
    draft.explain(reason, message)
    draft.status["finalPhase"] = phase
    draft.condition(c.FINISHED, True, reason, message)
    draft.condition(c.CLUSTER_DELETED, False, c.CLEANING_UP, "what the run had is being deleted")
    draft.summarise("progressing", c.CLEANING_UP, message)
    draft.tell(reason, message, warning=phase == "Failed")
    return Plan(status=draft.changed(), events=tuple(draft.events))
