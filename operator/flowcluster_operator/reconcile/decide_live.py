"""Decide on a run that starts or runs: create its children, scale its cluster, and write its progress. Pure."""

from __future__ import annotations

import dataclasses

from flowcluster_api import conditions as c
from flowcluster_operator.desired.inherited import Inheritance, with_inherited
from flowcluster_operator.errors import SpecError, TemplateError
from flowcluster_operator.model.plan import Action, Create, NextStep, Plan
from flowcluster_operator.policies import credential_exchange, heartbeat, idleness
from flowcluster_operator.policies.admission import not_allowed
from flowcluster_operator.policies.autoscaler_bounds import update_bounds
from flowcluster_operator.policies.backoff_limit import update_backoff_limit
from flowcluster_operator.policies.child_runs import requested
from flowcluster_operator.policies.dead_node import next_unconfirmed
from flowcluster_operator.policies.deadlines import seconds_left
from flowcluster_operator.policies.final_state import FinalState
from flowcluster_operator.policies.lingering_containers import delete_lingering_pod
from flowcluster_operator.policies.refusals import final_refusal, is_refused
from flowcluster_operator.policies.replicas import next_replicas
from flowcluster_operator.policies.status_rate import can_wait
from flowcluster_operator.reconcile.intervals import (
    CHECK_SECONDS,
    REFERENCE_SECONDS,
    RETRY_SECONDS,
    SHORTEST_CHECK_SECONDS,
)
from flowcluster_operator.reconcile.missing_children import missing_children
from flowcluster_operator.reconcile.run_pass import RunPass
from flowcluster_operator.run_defaults import run_defaults
from flowcluster_operator.status import run_end, run_status
from flowcluster_operator.status.draft import Draft


def finish(run: RunPass, over: FinalState) -> Plan:
    """Write the final state into status first; later passes delete the children of the run."""
    run_status.record(run.observed, run.draft, run.backend, run.workers, run.settings)
    run_end.finish_run(run.observed, run.draft, over)
    return Plan(status=run.draft.changed(), events=tuple(run.draft.events), requeue=0)


def start_or_run(run: RunPass) -> Plan:
    """Create the missing children that can be created now. If none is missing, scale the run and write its progress."""
    observed, draft, settings = run.observed, run.draft, run.settings
    try:
        missing = _inherited(run, missing_children(observed, settings, run.backend, run.workers))
    except SpecError as error:
        reason = c.INVALID_TEMPLATE if isinstance(error, TemplateError) else c.INVALID_SPEC
        return finish(run, FinalState("Failed", reason, str(error)))
    if refused := not_allowed(observed, settings) or final_refusal(observed.rejections, missing, observed.run["spec"]):
        return finish(run, FinalState("Failed", *refused))
    rejected = {rejection.kind for rejection in observed.rejections}
    if creates := tuple(action for action in missing if action.resource.kind not in rejected):
        if run.why is not None:
            run_status.explain(draft, run.why)
        return with_status(Plan(actions=creates, events=tuple(draft.events), requeue=0), draft)
    run_status.record(observed, draft, run.backend, run.workers, settings)
    counts = run_status.count_tasks(observed, draft)
    running = run_status.update_progress(observed, draft, run.why, run.workers)
    scaling, children = _scale(run), _child_runs(run)
    lingering = delete_lingering_pod(observed, run.now)
    checks = [_next_check(run, running=running), scaling.requeue, lingering.requeue, counts, 0 if children else None]
    plan = Plan(
        actions=(*scaling.actions, *update_backoff_limit(observed).actions, *lingering.actions, *children),
        events=tuple(draft.events),
        requeue=min((check for check in checks if check is not None), default=None),
    )
    return with_status(plan, draft)


def with_status(plan: Plan, draft: Draft) -> Plan:
    """Return the plan with the status of a run or shared cluster that starts or runs."""
    status = draft.changed()
    may_wait = status is not None and can_wait(draft.written, status, plan.events)
    return dataclasses.replace(plan, status=status, may_wait=may_wait)


def _child_runs(run: RunPass) -> tuple[Action, ...]:
    """Return the next steps of requests for child runs, which inherit the metadata of the run."""
    steps = requested(run.observed, run.settings)
    return tuple(_inherited(run, [step])[0] if isinstance(step, Create) else step for step in steps)


def _inherited(run: RunPass, creates: list[Create]) -> list[Create]:
    observed = run.observed
    defaults = run_defaults(run.settings.run_defaults)
    source = Inheritance(observed.run["metadata"], observed.spec, defaults, observed.pull_secrets)
    return [with_inherited(create, source) for create in creates]


def _scale(run: RunPass) -> NextStep:
    if run.backend is None or run.observed.uses_existing_cluster:
        return NextStep()
    step = update_bounds if run.backend.scales_itself else next_replicas
    return step(run.observed, run.backend, run.workers)


def _next_check(run: RunPass, *, running: bool) -> float | None:
    """Return the seconds until the next check that no watch event causes; a passed deadline needs no check."""
    observed, status = run.observed, run.draft.status
    waits = seconds_left(status, observed.spec, run.now)
    if running and observed.events_due is not None:
        waits.append(observed.events_due)
    if is_refused(observed):
        waits.append(RETRY_SECONDS)
    elif not running and (observed.job is not None or not observed.uses_shared):  # a SharedCluster wakes waiting runs
        waits.append(CHECK_SECONDS)
    if observed.uses_existing_cluster and not observed.uses_shared:
        waits.append(REFERENCE_SECONDS)
    checks = (
        heartbeat.next_check(observed),
        next_unconfirmed(observed, run.now),
        idleness.next_check(observed, status),
        credential_exchange.next_check(observed),
    )
    waits += [check for check in checks if check is not None]
    return max(min(waits), SHORTEST_CHECK_SECONDS) if waits else None
