"""Decide on a run that has finished: delete its children first, and its FlowRun when that expires. Pure."""

from __future__ import annotations

import datetime as dt

from flowcluster_api import conditions as c
from flowcluster_operator.model.conditions import is_true
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import Delete, Plan
from flowcluster_operator.policies import teardown
from flowcluster_operator.reconcile.intervals import CHECK_SECONDS
from flowcluster_operator.reconcile.run_pass import is_empty, shown_cause
from flowcluster_operator.resources import FLOW_RUN
from flowcluster_operator.settings import Settings
from flowcluster_operator.status import run_end
from flowcluster_operator.status.draft import Draft
from flowcluster_operator.timestamps import parse_time

#: Phases of a run that has ended.
PHASES_OF_END = ("Stopping", *c.FINAL_PHASES)


def decide_finished(observed: Observed, draft: Draft, settings: Settings, now: dt.datetime) -> Plan:
    """Return the plan for a run with the condition `Finished`."""
    if draft.status.get("phase") not in PHASES_OF_END:  # another client wrote the condition
        draft.phase("Stopping")
        return Plan(status=draft.changed(), requeue=0)
    if is_true(draft.status, c.CLUSTER_DELETED):
        return _expire(observed, draft, now)
    if not is_empty(observed):
        why = shown_cause(observed.failure)
        held = why.message if why else teardown.held(observed, settings, now)
        run_end.record_deletion(observed, draft, held)
        return Plan(
            actions=tuple(teardown.removals(observed, settings, now)),
            status=draft.changed(),
            events=tuple(draft.events),
            requeue=teardown.stuck_in(observed, settings, now) or CHECK_SECONDS,
        )
    run_end.record_deleted(draft)
    return Plan(status=draft.changed(), events=tuple(draft.events), requeue=0)


def _expire(observed: Observed, draft: Draft, now: dt.datetime) -> Plan:
    """Delete the FlowRun when `spec.ttlSecondsAfterFinished` has passed since its end."""
    if "finishTime" not in draft.status:
        draft.stamp("finishTime")
        return Plan(status=draft.changed(), requeue=0)
    age = (now - parse_time(draft.status["finishTime"])).total_seconds()
    left = observed.spec.ttl_seconds_after_finished - age
    if left > 0:
        return Plan(requeue=left)
    meta = observed.run["metadata"]
    return Plan(actions=(Delete(FLOW_RUN, meta["name"], meta["uid"]),))
