"""Decide on a shared cluster that starts or is ready: create its children, scale it, and write its state. Pure."""

from __future__ import annotations

import dataclasses
import datetime as dt

from flowcluster_api import conditions as c
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.desired.inherited import Inheritance, with_inherited
from flowcluster_operator.errors import SpecError, TemplateError
from flowcluster_operator.model.plan import Create, Plan
from flowcluster_operator.model.shared import SharedObserved
from flowcluster_operator.policies.admission import Refusal
from flowcluster_operator.policies.causes import Cause, cause
from flowcluster_operator.policies.refusals import final_refusal
from flowcluster_operator.policies.shared import idle_shutdown, keeper, loss, upgrade
from flowcluster_operator.policies.shared.admission import broken_template, update_network_policy
from flowcluster_operator.policies.shared.keeper_instructions import update_instructions
from flowcluster_operator.policies.shared.readiness import shared_readiness
from flowcluster_operator.policies.shared.worker_groups import WorkerGroupState, scale_steps
from flowcluster_operator.reconcile.decide_live import with_status
from flowcluster_operator.reconcile.intervals import CHECK_SECONDS, RETRY_SECONDS, SHORTEST_CHECK_SECONDS
from flowcluster_operator.reconcile.missing_shared_children import cluster_objects, missing_shared_children
from flowcluster_operator.reconcile.run_pass import shown_cause
from flowcluster_operator.run_defaults import run_defaults
from flowcluster_operator.settings import Settings
from flowcluster_operator.status import shared_status
from flowcluster_operator.status.draft import Draft


def written(draft: Draft, requeue: float | None = None) -> Plan:
    """Return the plan that writes the status only, if it has changed."""
    status = draft.changed()
    return Plan(status=status, events=tuple(draft.events), requeue=requeue if status is not None else None)


def start_or_serve(
    seen: SharedObserved,
    draft: Draft,
    settings: Settings,
    now: dt.datetime,
    backend: Backend,
    groups: list[WorkerGroupState],
    change: upgrade.Upgrade | None,
) -> Plan:
    """Create the missing children that can be created now. If none is missing, scale the cluster and write status."""
    base = seen.base
    why = shown_cause(base.failure) or cause(base, backend, now)
    if base.cluster is None and (problem := why_not_buildable(seen, settings, backend, groups)):
        shared_status.fail(draft, problem.reason, problem.message, is_accepted=True)
        return written(draft)
    source = Inheritance(base.run["metadata"], base.spec, run_defaults(settings.run_defaults), base.pull_secrets)
    missing = [with_inherited(create, source) for create in missing_shared_children(seen, settings, backend, groups)]
    if refused := final_refusal(base.rejections, missing, {"cluster": base.run["spec"]}):
        shared_status.fail(draft, *refused, is_accepted=True)
        return dataclasses.replace(written(draft), requeue=RETRY_SECONDS)
    rejected = {rejection.kind for rejection in base.rejections}
    if creates := tuple(create for create in missing if create.resource.kind not in rejected):
        return _create(creates, draft, why)
    shared_status.record(seen, draft, backend, groups, settings)
    scaling = keeper.scaling(seen, backend.scales_itself, [group.scale for group in groups])
    is_settled = shared_status.update_progress(draft, shared_readiness(groups), why, change, scaling)
    steps = scale_steps(groups, backend)
    patches = [each for each in (update_instructions(seen, groups), update_network_policy(seen)) if each is not None]
    actions = [action for step in steps for action in step.actions]
    checks = [*(step.requeue for step in steps), _next_check(seen, draft, now, change, is_settled=is_settled)]
    plan = Plan(
        actions=(*actions, *patches),
        events=tuple(draft.events),
        requeue=min((check for check in checks if check is not None), default=None),
    )
    return with_status(plan, draft)


def _create(creates: tuple[Create, ...], draft: Draft, why: Cause | None) -> Plan:
    shared_status.create(draft, why)
    return with_status(Plan(actions=creates, events=tuple(draft.events), requeue=0), draft)


def why_not_buildable(
    seen: SharedObserved, settings: Settings, backend: Backend, groups: list[WorkerGroupState]
) -> Refusal | None:
    """Return why no cluster can be built from the spec; None where one can."""
    try:
        cluster_objects(seen, settings, backend, groups, seen.base.credentials or "")
    except SpecError as error:
        return Refusal(c.INVALID_TEMPLATE if isinstance(error, TemplateError) else c.INVALID_SPEC, str(error))
    return broken_template(seen.spec, settings)


def _next_check(
    seen: SharedObserved, draft: Draft, now: dt.datetime, change: upgrade.Upgrade | None, *, is_settled: bool
) -> float | None:
    """Return the seconds until the next check that no watch event causes; None where none is needed."""
    waits = [
        idle_shutdown.next_check(seen, draft.status),
        keeper.next_silence(seen),
        loss.in_place_left(draft.status, now),
    ]
    if is_settled:
        waits.append(seen.base.events_due)
    if seen.base.rejections:  # a cluster that can take work can have some, too, such as of a network policy
        waits.append(RETRY_SECONDS)
    elif not is_settled:
        waits.append(CHECK_SECONDS)
    if change is not None and upgrade.seems_idle(seen):
        waits.append(CHECK_SECONDS)
    due = [wait for wait in waits if wait is not None]
    return max(min(due), SHORTEST_CHECK_SECONDS) if due else None
