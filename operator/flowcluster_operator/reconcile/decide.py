"""Decide on one run: from what the pass observed to a `Plan`. Pure.

`decide` checks in this order: is the run deleted, has it finished, does it end now, is it suspended, does it start
again on another cluster? Otherwise it starts or runs. No order of observations raises an exception: a spec from which
nothing can be built ends the run, and each phase leads to a next one.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

from flowcluster_api import conditions as c
from flowcluster_operator.model.conditions import is_true
from flowcluster_operator.model.observed import Observed, Remains
from flowcluster_operator.model.plan import Plan
from flowcluster_operator.policies import teardown
from flowcluster_operator.policies.backoff_limit import after_loss
from flowcluster_operator.policies.final_state import final_state
from flowcluster_operator.policies.run_phases import is_rebuilding, is_suspended
from flowcluster_operator.reconcile.decide_finished import PHASES_OF_END, decide_finished
from flowcluster_operator.reconcile.decide_live import finish, start_or_run
from flowcluster_operator.reconcile.deletion import deletion
from flowcluster_operator.reconcile.run_pass import RunPass
from flowcluster_operator.settings import Settings
from flowcluster_operator.status import run_end, run_restart, run_status
from flowcluster_operator.status.draft import Draft


def decide(observed: Observed | Remains, settings: Settings, now: dt.datetime) -> Plan:
    """Return the plan for one pass over one run.

    Args:
        observed: the run; `Remains` once its FlowRun is deleted.
        settings: of the operator.
        now: the time.
    """
    if not isinstance(observed, Observed):
        return _delete_remains(observed, settings, now)
    draft = Draft(observed.run, now, observed.written)
    if is_true(draft.status, c.FINISHED):
        return decide_finished(observed, draft, settings, now)
    if draft.status.get("phase") in PHASES_OF_END:
        run_end.close(draft)
        return Plan(status=draft.changed(), requeue=0)
    return _decide_unfinished(RunPass.of(observed, draft, settings, now))


def _delete_remains(remains: Remains, settings: Settings, now: dt.datetime) -> Plan:
    """Return the plan for a deleted FlowRun: garbage collection deletes its children unless a finalizer stops it."""
    return Plan(
        actions=tuple(teardown.removals(remains, settings, now)),
        requeue=teardown.stuck_in(remains, settings, now),
    )


def _decide_unfinished(run: RunPass) -> Plan:
    observed, draft = run.observed, run.draft
    run_status.accept(draft)
    if over := final_state(observed, draft.status, run.why, run.now):
        failed = after_loss(observed) if over.is_loss else None
        return finish(run, over) if failed is None else _start_again(run, over.message, failed)
    # A suspension is completed even if `suspend` is false again: the next start must not adopt what is left of the run.
    if observed.spec.suspend or (is_suspended(draft.status) and not run.is_empty):
        return _suspend(run)
    if is_rebuilding(draft.status):
        return _begin(run) if run.is_empty else _remove_lost(run)
    if "startTime" not in draft.status or draft.status.get("phase") in (None, "Pending", "Suspended"):
        return _begin(run)
    return start_or_run(run)


def _suspend(run: RunPass) -> Plan:
    draft = run.draft
    run_restart.suspend(run.observed, draft, teardown.held(run.observed, run.settings, run.now))
    # The status forgets the children first: otherwise their deletion would look like a loss.
    if (changed := draft.changed()) is not None:
        return Plan(status=changed, events=tuple(draft.events), requeue=0)
    return Plan(requeue=None) if run.is_empty else deletion(run.observed, run.settings, run.now)


def _start_again(run: RunPass, lost: str, failed: int) -> Plan:
    """Write the loss of the cluster into status first. As with a suspension, later passes delete what is left."""
    draft, flow = run.draft, run.observed.spec.flow
    run_status.record(run.observed, draft, run.backend, run.workers, run.settings)
    run_restart.lose_cluster(run.observed, draft, lost, failed, flow.backoff_limit if flow is not None else 0)
    return Plan(status=draft.changed(), events=tuple(draft.events), requeue=0)


def _remove_lost(run: RunPass) -> Plan:
    """Delete what is left of a lost cluster, and of its driver: the next cluster has the same names."""
    run_restart.explain_removal(run.draft, teardown.held(run.observed, run.settings, run.now))
    return dataclasses.replace(deletion(run.observed, run.settings, run.now), status=run.draft.changed())


def _begin(run: RunPass) -> Plan:
    """Write into status that the run starts, before any child exists: deadlines begin, and fixed fields stay fixed."""
    run_status.begin(run.observed, run.draft, run.workers)
    return Plan(status=run.draft.changed(), events=tuple(run.draft.events), requeue=0)
