"""Decide on an owner whose passes fail before they have a plan: only its spec and status are known. Pure.

The operator writes the cause into status. `spec.cancel` and deadlines still end a run.
"""

from __future__ import annotations

import datetime as dt

from flowcluster_api import conditions as c
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.model.conditions import is_true
from flowcluster_operator.model.failures import RepeatedFailure
from flowcluster_operator.model.plan import Plan
from flowcluster_operator.policies.causes import failure_cause
from flowcluster_operator.policies.deadlines import passed
from flowcluster_operator.resources import Object
from flowcluster_operator.shared_specs import own_fields
from flowcluster_operator.status import run_end, run_status
from flowcluster_operator.status.draft import Draft


def decide_failing(run: Object, spec: FlowRunSpec, failure: RepeatedFailure, now: dt.datetime) -> Plan:
    """Return the plan for a run whose passes fail: a status write, and nothing else."""
    draft = Draft(run, now)
    if "deletionTimestamp" in run["metadata"] or is_true(draft.status, c.CLUSTER_DELETED):
        return Plan()
    if is_true(draft.status, c.FINISHED):
        draft.condition(c.CLUSTER_DELETED, False, c.CLEANING_UP, failure.message)
        return Plan(status=draft.changed())
    late = passed(draft.status, spec, now)
    if (spec.cancel or late) and draft.status.get("phase") in c.FINAL_PHASES:
        return Plan()
    if spec.cancel:
        run_end.finish(draft, "Cancelled", c.CANCELLED, "cancelled by spec.cancel")
    elif late is not None:
        run_end.finish(draft, "Failed", failure.reason, f"{late.message}: {failure.message}")
    else:
        run_status.explain_failure(draft, failure_cause(failure))
    return Plan(status=draft.changed(), events=tuple(draft.events))


def decide_failing_shared(shared: Object, failure: RepeatedFailure, now: dt.datetime) -> Plan:
    """Return the plan for a shared cluster whose passes fail: write the cause into its status, and keep its phase."""
    draft = Draft(shared, now, moves=c.SHARED_PHASE_MOVES, wording=own_fields)
    if "deletionTimestamp" in shared["metadata"]:
        return Plan()
    draft.phase(draft.status.get("phase") or "Pending")
    run_status.explain(draft, failure_cause(failure))
    return Plan(status=draft.changed(), events=tuple(draft.events))
