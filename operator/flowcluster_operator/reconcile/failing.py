"""What a pass does that cannot observe or decide: spec and status of its owner are all that it knows. Pure.

The cause stands in status, and what a user or a deadline ends still ends.
"""

from __future__ import annotations

import datetime as dt

from flowcluster_api import conditions as c
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.model import Plan, Trouble
from flowcluster_operator.policies.causes import trouble_cause
from flowcluster_operator.policies.deadlines import passed
from flowcluster_operator.reconcile import progress
from flowcluster_operator.resources import Object
from flowcluster_operator.shared_specs import own_fields
from flowcluster_operator.status import Draft, is_true


def failing(run: Object, spec: FlowRunSpec, trouble: Trouble, now: dt.datetime) -> Plan:
    """Return the plan for a run whose passes fail: a status write, and nothing else."""
    draft = Draft(run, now)
    if "deletionTimestamp" in run["metadata"] or is_true(draft.status, c.CLUSTER_DELETED):
        return Plan()
    if is_true(draft.status, c.FINISHED):
        draft.condition(c.CLUSTER_DELETED, False, c.CLEANING_UP, trouble.message)
        return Plan(status=draft.changed())
    late = passed(draft.status, spec, now)
    if (spec.cancel or late) and draft.status.get("phase") in c.FINAL_PHASES:
        return Plan()
    if spec.cancel:
        progress.finish(draft, "Cancelled", c.CANCELLED, "cancelled by spec.cancel")
    elif late is not None:
        progress.finish(draft, "Failed", trouble.reason, f"{late.message}: {trouble.message}")
    else:
        _show(draft, trouble)
    return Plan(status=draft.changed(), events=tuple(draft.events))


def failing_shared(shared: Object, trouble: Trouble, now: dt.datetime) -> Plan:
    """Return the plan for a shared cluster whose passes fail: its status shows the cause, and its phase stays."""
    draft = Draft(shared, now, moves=c.SHARED_PHASE_MOVES, wording=own_fields)
    if "deletionTimestamp" in shared["metadata"]:
        return Plan()
    draft.phase(draft.status.get("phase") or "Pending")
    progress.explain(draft, trouble_cause(trouble))
    return Plan(status=draft.changed(), events=tuple(draft.events))


def _show(draft: Draft, trouble: Trouble) -> None:
    if draft.status.get("phase") not in ("Suspended", "Stopping", *c.FINAL_PHASES):
        if not draft.status.get("phase"):
            draft.phase("Starting")
        draft.stamp("startTime")
    progress.explain(draft, trouble_cause(trouble))
