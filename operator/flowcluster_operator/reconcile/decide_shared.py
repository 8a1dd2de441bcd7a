"""From what was observed of a shared cluster to what is done about it. Pure: values in, a `Plan` out.

Its life, read from top to bottom: gone → invalid → stopped (suspended, asleep, lost, upgraded) → lost → idle
→ upgraded → starting or ready. It has no end but its deletion: each phase leads on.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

from flowcluster_api import conditions as c
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.defaults import run_defaults
from flowcluster_operator.desired.inherited import Inheritance, inheriting
from flowcluster_operator.errors import SpecError, TemplateError
from flowcluster_operator.model import Create, Delete, Plan
from flowcluster_operator.policies import teardown
from flowcluster_operator.policies.admission import Refusal
from flowcluster_operator.policies.causes import Cause, cause, trouble_cause
from flowcluster_operator.policies.refusals import final_refusal
from flowcluster_operator.policies.reporting import can_wait
from flowcluster_operator.policies.shared import existing, keeper, loss, sleeping, upgrading
from flowcluster_operator.policies.shared.allowing import broken_template, opening
from flowcluster_operator.policies.shared.parts import WorkerPart, steps, worker_parts
from flowcluster_operator.policies.shared.ready import ready
from flowcluster_operator.reconcile import shared_progress as progress
from flowcluster_operator.reconcile.missing_shared import cluster_objects, missing_shared
from flowcluster_operator.reconcile.pauses import LOOK_SECONDS, RETRY_SECONDS, SHORTEST_LOOK_SECONDS, SHOWN_SECONDS
from flowcluster_operator.reconcile.removal import removal
from flowcluster_operator.resources import POD
from flowcluster_operator.settings import Settings
from flowcluster_operator.shared_model import SharedObserved
from flowcluster_operator.shared_specs import own_fields
from flowcluster_operator.status import Draft


def decide_shared(seen: SharedObserved, settings: Settings, now: dt.datetime) -> Plan:
    """Return the plan for one pass over one shared cluster."""
    base = seen.base
    if base.run is None or "deletionTimestamp" in base.run["metadata"]:
        actions = (*teardown.removals(base, settings, now), *_test_removals(seen))
        return Plan(actions, requeue=teardown.stuck_in(base, settings, now))
    draft = Draft(base.run, now, base.written, c.SHARED_PHASE_MOVES, own_fields)
    if seen.spec is None:
        progress.fail(draft, c.INVALID_SPEC, base.invalid or "the spec is invalid", is_accepted=False)
        return _written(draft)
    progress.accept(seen, draft)
    if not existing.exists(draft.status):
        return _stopped(seen, draft, settings, now)
    if seen.spec.suspend:
        return _suspend(draft)
    backend = BACKENDS[seen.spec.kind]
    if gone := loss.lost(seen, draft.status, backend, now):
        progress.lose(draft, gone)
        return _written(draft, requeue=0)
    if idle := sleeping.idle_shutdown(seen, draft.status):
        progress.stop(draft, "Sleeping", c.IDLE_SHUTDOWN, idle)
        return _written(draft, requeue=0)
    parts = worker_parts(seen, backend, settings)
    change = upgrading.upgrade(seen, draft.status, settings, _problem(seen, settings, backend, parts))
    if change is not None and change.is_due:
        progress.stop(draft, "Upgrading", change.reason, f"the cluster is replaced: {change.message}")
        return _written(draft, requeue=0)
    return _start_or_serve(seen, draft, settings, now, backend, parts, change)


def _test_removals(seen: SharedObserved) -> list[Delete]:
    """Return the deletes of the pods of `helm test`. helm deletes none of them with the release."""
    metas = [pod["metadata"] for pod in seen.tests]
    return [Delete(POD, meta["name"], meta["uid"]) for meta in metas if "deletionTimestamp" not in meta]


def _written(draft: Draft, requeue: float | None = None) -> Plan:
    """Return the plan that writes the status only, if it has changed."""
    status = draft.changed()
    return Plan(status=status, events=tuple(draft.events), requeue=requeue if status is not None else None)


def _suspend(draft: Draft) -> Plan:
    progress.stop(draft, "Suspended", c.SUSPENDED, "suspended by spec.suspend: nothing of the cluster exists")
    return _written(draft, requeue=0)


def _stopped(seen: SharedObserved, draft: Draft, settings: Settings, now: dt.datetime) -> Plan:
    """Nothing of the cluster is to exist: delete what does, and begin again when there is a reason to."""
    assert seen.spec is not None
    base = seen.base
    if seen.spec.suspend and draft.status.get("phase") != "Suspended":
        return _suspend(draft)
    is_empty = base.verified_gone and not teardown.anything_left(base)
    if not existing.is_new(draft.status) and not is_empty:
        if held := teardown.held(base, settings, now):
            draft.explain(draft.status.get("reason") or c.CLEANING_UP, held)
        plan = removal(base, settings, now)
        return dataclasses.replace(plan, status=draft.changed(), events=tuple(draft.events))
    phase = draft.status.get("phase")
    if seen.spec.suspend or (phase == "Sleeping" and not sleeping.is_wanted(seen)):
        return _written(draft)
    if phase == "Rebuilding" and (pause := loss.pause_left(draft.status, now)) > 0:
        draft.explain(
            c.CLUSTER_LOST, "the cluster was lost several times within minutes: it is begun again after a pause"
        )
        return dataclasses.replace(_written(draft), requeue=max(pause, SHORTEST_LOOK_SECONDS))
    if phase == "Sleeping":
        wants = (
            f"FlowRun {seen.users[0].name} wants the cluster" if seen.users else "spec.idleShutdownSeconds was removed"
        )
        progress.begin(seen, draft, c.WAKING, wants)
    else:
        progress.begin(seen, draft, c.CREATING, f"{seen.spec.kind} cluster")
    return _written(draft, requeue=0)


def _start_or_serve(
    seen: SharedObserved,
    draft: Draft,
    settings: Settings,
    now: dt.datetime,
    backend: Backend,
    parts: list[WorkerPart],
    change: upgrading.Upgrade | None,
) -> Plan:
    """Create what is missing, all in one pass; once nothing is, write down how the cluster is."""
    base = seen.base
    assert base.run is not None
    assert base.spec is not None
    why = _trouble(seen) or cause(base, backend, now)
    if base.cluster is None and (problem := _problem(seen, settings, backend, parts)):
        progress.fail(draft, problem.reason, problem.message, is_accepted=True)
        return _written(draft)
    source = Inheritance(base.run["metadata"], base.spec, run_defaults(settings.run_defaults), base.pull_secrets)
    lacking = [inheriting(create, source) for create in missing_shared(seen, settings, backend, parts)]
    if refused := final_refusal(base.rejections, lacking, {"cluster": base.run["spec"]}):
        progress.fail(draft, *refused, is_accepted=True)
        return dataclasses.replace(_written(draft), requeue=RETRY_SECONDS)
    rejected = {rejection.kind for rejection in base.rejections}
    if creates := tuple(create for create in lacking if create.resource.kind not in rejected):
        return _creating(creates, draft, why)
    progress.record(seen, draft, backend, parts, settings)
    scaling = keeper.scaling(seen, backend.scales_itself, [part.scale for part in parts])
    is_settled = progress.judge(draft, ready(parts), why, change, scaling)
    sizing = steps(parts, backend)
    amends = [amend for amend in (keeper.instructing(seen, parts), opening(seen)) if amend is not None]
    actions = [action for step in sizing for action in step.actions]
    looks = [*(step.requeue for step in sizing), _next_look(seen, draft, now, change, is_settled=is_settled)]
    plan = Plan(
        actions=(*actions, *amends),
        events=tuple(draft.events),
        requeue=min((look for look in looks if look is not None), default=None),
    )
    return _reported(plan, draft)


def _creating(creates: tuple[Create, ...], draft: Draft, why: Cause | None) -> Plan:
    if draft.status.get("phase") == "Failed":
        draft.phase("Starting")
    if why is not None:
        draft.tell(why.reason, why.message, warning=True, part=why.part)
        draft.explain(why.reason, why.message)
        draft.summarise("progressing", why.reason, why.message)
    return _reported(Plan(actions=creates, events=tuple(draft.events), requeue=0), draft)


def _reported(plan: Plan, draft: Draft) -> Plan:
    status = draft.changed()
    may_wait = status is not None and can_wait(draft.written, status, plan.events)
    return dataclasses.replace(plan, status=status, may_wait=may_wait)


def _problem(seen: SharedObserved, settings: Settings, backend: Backend, parts: list[WorkerPart]) -> Refusal | None:
    """Return why no cluster can be built from the spec."""
    assert seen.spec is not None
    try:
        cluster_objects(seen, settings, backend, parts, seen.base.keys or "")
    except SpecError as error:
        return Refusal(c.INVALID_TEMPLATE if isinstance(error, TemplateError) else c.INVALID_SPEC, str(error))
    return broken_template(seen.spec, settings)


def _trouble(seen: SharedObserved) -> Cause | None:
    trouble = seen.base.trouble
    return trouble_cause(trouble) if trouble is not None and trouble.seconds >= SHOWN_SECONDS else None


def _next_look(
    seen: SharedObserved, draft: Draft, now: dt.datetime, change: upgrading.Upgrade | None, *, is_settled: bool
) -> float | None:
    """Return seconds until something is due that no watch event announces."""
    waits = [sleeping.next_look(seen, draft.status), keeper.next_silence(seen), loss.in_place_left(draft.status, now)]
    if is_settled:
        waits.append(seen.base.events_due)
    if seen.base.rejections:  # also of a cluster that can take work: a network policy, for one
        waits.append(RETRY_SECONDS)
    elif not is_settled:
        waits.append(LOOK_SECONDS)
    if change is not None and upgrading.seems_idle(seen):
        waits.append(LOOK_SECONDS)
    due = [wait for wait in waits if wait is not None]
    return max(min(due), SHORTEST_LOOK_SECONDS) if due else None
