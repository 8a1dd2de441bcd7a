"""From what was observed to what is done about it. Pure: values in, a `Plan` out.

A run's life, read from top to bottom: gone → finished → over → suspended → begins again → starting or running.
No order of observations raises: what a spec makes impossible ends the run, and each phase leads on.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

from flowcluster_api import conditions as c
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.backends.registry import backend_of
from flowcluster_operator.defaults import run_defaults
from flowcluster_operator.desired.inherited import Inheritance, inheriting
from flowcluster_operator.errors import SpecError, TemplateError
from flowcluster_operator.facts import parse_time
from flowcluster_operator.model import Action, Create, Delete, Observed, Plan, Resizing
from flowcluster_operator.policies import handover, idleness, teardown
from flowcluster_operator.policies.admission import not_allowed
from flowcluster_operator.policies.bounds import rebounding
from flowcluster_operator.policies.causes import Cause, cause, trouble_cause
from flowcluster_operator.policies.child_runs import requested
from flowcluster_operator.policies.dead_node import next_unconfirmed
from flowcluster_operator.policies.deadlines import seconds_left
from flowcluster_operator.policies.ending import Ending, ending, is_rebuilding, is_suspended
from flowcluster_operator.policies.lease import next_look
from flowcluster_operator.policies.outlived import outlived
from flowcluster_operator.policies.refusals import final_refusal, is_refused
from flowcluster_operator.policies.reporting import can_wait
from flowcluster_operator.policies.resizing import resizing
from flowcluster_operator.policies.retries import after_loss, limiting
from flowcluster_operator.policies.scaling import scale
from flowcluster_operator.reconcile import progress
from flowcluster_operator.reconcile.missing import missing
from flowcluster_operator.reconcile.pauses import (
    LOOK_SECONDS,
    REFERENCE_SECONDS,
    RETRY_SECONDS,
    SHORTEST_LOOK_SECONDS,
    SHOWN_SECONDS,
)
from flowcluster_operator.reconcile.removal import removal
from flowcluster_operator.resources import FLOW_RUN, Object
from flowcluster_operator.settings import Settings
from flowcluster_operator.status import Draft, is_true

_OVER = ("Stopping", *c.FINAL_PHASES)


def decide(observed: Observed, settings: Settings, now: dt.datetime) -> Plan:
    """Return the plan for one pass over one run."""
    if observed.run is None or "deletionTimestamp" in observed.run["metadata"]:
        return _sweep(observed, settings, now)
    assert observed.spec is not None
    draft = Draft(observed.run, now, observed.written)
    if is_true(draft.status, c.FINISHED):
        return _clean_up(observed, draft, settings, now)
    if draft.status.get("phase") in _OVER:
        return _close(draft)
    backend = _backend(observed)
    why = _trouble(observed) or cause(observed, backend, now)
    _accept(draft)
    if over := ending(observed, draft.status, why, now):
        failed = after_loss(observed) if over.is_loss else None
        if failed is None:
            return _finish(observed, draft, settings, over)
        return _begin_again(observed, draft, settings, over.message, failed)
    # A suspension goes on to its end: what is left of the run then would be taken for that of the next start.
    if observed.spec.suspend or (is_suspended(draft.status) and not _is_empty(observed)):
        return _suspend(observed, draft, settings, now)
    if is_rebuilding(draft.status):
        return (
            _begin(observed, draft, settings) if _is_empty(observed) else _remove_lost(observed, draft, settings, now)
        )
    if "startTime" not in draft.status or draft.status.get("phase") in (None, "Pending", "Suspended"):
        return _begin(observed, draft, settings)
    return _start_or_run(observed, draft, settings, now, backend, why)


def _trouble(observed: Observed) -> Cause | None:
    """Return why passes go on to fail; what passes within moments is no cause."""
    trouble = observed.trouble
    return trouble_cause(trouble) if trouble is not None and trouble.seconds >= SHOWN_SECONDS else None


def _is_empty(observed: Observed) -> bool:
    return observed.verified_gone and not teardown.anything_left(observed)


def _backend(observed: Observed) -> Backend | None:
    return backend_of(observed.spec.cluster if observed.spec else None)


def _sweep(observed: Observed, settings: Settings, now: dt.datetime) -> Plan:
    """The FlowRun is gone or is being deleted: garbage collection does the work unless a finalizer stops it."""
    return Plan(
        actions=tuple(teardown.removals(observed, settings, now)),
        requeue=teardown.stuck_in(observed, settings, now),
    )


def _close(draft: Draft) -> Plan:
    """Complete a status that has the phase of an end and no condition `Finished`: another client wrote it."""
    phase = draft.status["phase"]
    draft.status["finalPhase"] = phase if phase in c.FINAL_PHASES else "Failed"
    draft.condition(c.FINISHED, True, draft.status.get("reason") or c.DRIVER_LOST, draft.status.get("message") or "")
    draft.stamp("finishTime")
    return Plan(status=draft.changed(), requeue=0)


def _clean_up(observed: Observed, draft: Draft, settings: Settings, now: dt.datetime) -> Plan:
    if draft.status.get("phase") not in _OVER:  # another client wrote the condition
        draft.phase("Stopping")
        return Plan(status=draft.changed(), requeue=0)
    if is_true(draft.status, c.CLUSTER_DELETED):
        return _expire(observed, draft, now)
    if not _is_empty(observed):
        why = _trouble(observed)
        held = why.message if why else teardown.held(observed, settings, now)
        draft.condition(c.CLUSTER_DELETED, False, c.CLEANING_UP, held or progress.BEING_DELETED)
        if draft.status.get("finalPhase") == "Failed":
            progress.complete_failure(observed, draft)
        return Plan(
            actions=tuple(teardown.removals(observed, settings, now)),
            status=draft.changed(),
            events=tuple(draft.events),
            requeue=teardown.stuck_in(observed, settings, now) or LOOK_SECONDS,
        )
    finished = next(item for item in draft.status["conditions"] if item["type"] == c.FINISHED)
    phase = _final_phase(draft.status, finished["reason"])
    draft.phase(phase)
    draft.condition(c.CLUSTER_DELETED, True, c.NOTHING_LEFT, "nothing of the run is left")
    draft.stamp("clusterDeletedTime")
    progress.forget_workers(draft)
    draft.tell(c.NOTHING_LEFT, "verified that nothing of the run is left", has_event=False)
    state = "ready" if phase == "Succeeded" else "failed"
    draft.summarise(state, finished["reason"], finished["message"])
    return Plan(status=draft.changed(), events=tuple(draft.events), requeue=0)


def _final_phase(status: Object, reason: str) -> c.Phase:
    """Return the phase that the ending recorded; of an ending by another client, what its reason means."""
    if status["phase"] in c.FINAL_PHASES:
        phase: c.Phase = status["phase"]
        return phase
    return status.get("finalPhase") or c.final_phase(reason)


def _expire(observed: Observed, draft: Draft, now: dt.datetime) -> Plan:
    assert observed.run is not None
    assert observed.spec is not None
    if "finishTime" not in draft.status:
        draft.stamp("finishTime")
        return Plan(status=draft.changed(), requeue=0)
    age = (now - parse_time(draft.status["finishTime"])).total_seconds()
    left = observed.spec.ttl_seconds_after_finished - age
    if left > 0:
        return Plan(requeue=left)
    meta = observed.run["metadata"]
    return Plan(actions=(Delete(FLOW_RUN, meta["name"], meta["uid"]),))


def _accept(draft: Draft) -> None:
    if not is_true(draft.status, c.ACCEPTED):
        draft.condition(c.ACCEPTED, True, c.SPEC_ACCEPTED, "the spec is valid")


def _finish(observed: Observed, draft: Draft, settings: Settings, over: Ending) -> Plan:
    """Write the end first; what the run had is deleted in the passes after that."""
    progress.record(observed, draft, _backend(observed), settings)
    reason = c.SUCCEEDED if over.phase == "Succeeded" else over.reason
    progress.finish(draft, over.phase, reason, over.message)
    progress.close_tasks(observed, draft)
    if over.outcome is not None or draft.status.get("flow"):
        progress.record_outcome(draft.status.setdefault("flow", {}), over)
    progress.display(draft)
    return Plan(status=draft.changed(), events=tuple(draft.events), requeue=0)


def _suspend(observed: Observed, draft: Draft, settings: Settings, now: dt.datetime) -> Plan:
    draft.phase("Suspended")
    held = teardown.held(observed, settings, now)
    draft.explain(c.SUSPENDED, f"suspended by spec.suspend: {held or 'nothing of the run exists'}")
    if draft.status.pop("startTime", None):
        draft.tell(c.SUSPENDED, "suspended by spec.suspend")
    progress.close_tasks(observed, draft)
    progress.forget_start(draft)
    progress.forget_children(draft)
    draft.summarise("progressing", c.SUSPENDED, "suspended")
    # The record of the children goes first: deleting them must not look like losing them.
    if (changed := draft.changed()) is not None:
        return Plan(status=changed, events=tuple(draft.events), requeue=0)
    return Plan(requeue=None) if _is_empty(observed) else removal(observed, settings, now)


def _begin_again(observed: Observed, draft: Draft, settings: Settings, lost: str, failed: int) -> Plan:
    """Record the loss of the cluster first. As with a suspension, what is left is deleted in the passes after that."""
    assert observed.spec is not None
    assert observed.spec.flow is not None
    progress.record(observed, draft, _backend(observed), settings)
    progress.close_tasks(observed, draft)
    progress.lose_cluster(draft, lost, failed, observed.spec.flow.backoff_limit)
    return Plan(status=draft.changed(), events=tuple(draft.events), requeue=0)


def _remove_lost(observed: Observed, draft: Draft, settings: Settings, now: dt.datetime) -> Plan:
    """Delete what is left of a lost cluster, and of its driver. Names are free again when all of it is gone."""
    if held := teardown.held(observed, settings, now):
        draft.explain(c.CLUSTER_LOST, f"another cluster follows when nothing is left of the lost one: {held}")
    return dataclasses.replace(removal(observed, settings, now), status=draft.changed())


def _begin(observed: Observed, draft: Draft, settings: Settings) -> Plan:
    """Record that the run starts, before any child exists: deadlines count, and fixed fields cannot change.

    A run that was suspended, or that lost its cluster, starts in the same way.
    """
    draft.phase("Starting")
    draft.stamp("startTime")
    if draft.status.pop("lostTime", None):
        draft.stamp("rebuildTime")
    progress.begin(observed, draft, settings)
    return Plan(status=draft.changed(), events=tuple(draft.events), requeue=0)


def _start_or_run(
    observed: Observed, draft: Draft, settings: Settings, now: dt.datetime, backend: Backend | None, why: Cause | None
) -> Plan:
    """Create what is missing, all in one pass; once nothing is, write down how far the run is."""
    assert observed.run is not None
    try:
        lacking = _inheriting(missing(observed, settings, backend), observed, settings)
    except SpecError as error:
        reason = c.INVALID_TEMPLATE if isinstance(error, TemplateError) else c.INVALID_SPEC
        return _finish(observed, draft, settings, Ending("Failed", reason, str(error)))
    if refused := not_allowed(observed, settings) or final_refusal(observed.rejections, lacking, observed.run["spec"]):
        return _finish(observed, draft, settings, Ending("Failed", *refused))
    rejected = {rejection.kind for rejection in observed.rejections}
    if creates := tuple(action for action in lacking if action.resource.kind not in rejected):
        if why is not None:
            progress.explain(draft, why)
        return _reported(Plan(actions=creates, events=tuple(draft.events), requeue=0), draft)
    progress.record(observed, draft, backend, settings)
    counts = progress.count_tasks(observed, draft)
    running = progress.judge(observed, draft, why, settings)
    sizing, children = _resize(observed, settings, backend), _child_runs(observed, settings)
    look = _next_look(observed, draft.status, now, running=running)
    left = outlived(observed, now)
    looks = [look, sizing.requeue, left.requeue, counts, 0 if children else None]
    plan = Plan(
        actions=(*sizing.actions, *limiting(observed).actions, *left.actions, *children),
        events=tuple(draft.events),
        requeue=min((look for look in looks if look is not None), default=None),
    )
    return _reported(plan, draft)


def _reported(plan: Plan, draft: Draft) -> Plan:
    """Return the plan with the status of a run that starts or runs."""
    status = draft.changed()
    may_wait = status is not None and can_wait(draft.written, status, plan.events)
    return dataclasses.replace(plan, status=status, may_wait=may_wait)


def _child_runs(observed: Observed, settings: Settings) -> tuple[Action, ...]:
    """Return the next steps of requests for child runs, which inherit the metadata of the run."""
    steps = requested(observed, settings)
    return tuple(_inheriting([step], observed, settings)[0] if isinstance(step, Create) else step for step in steps)


def _inheriting(creates: list[Create], observed: Observed, settings: Settings) -> list[Create]:
    assert observed.run is not None
    assert observed.spec is not None
    defaults = run_defaults(settings.run_defaults)
    source = Inheritance(observed.run["metadata"], observed.spec, defaults, observed.pull_secrets)
    return [inheriting(create, source) for create in creates]


def _resize(observed: Observed, settings: Settings, backend: Backend | None) -> Resizing:
    assert observed.spec is not None
    if backend is None or observed.is_guest:
        return Resizing()
    step = rebounding if backend.scales_itself else resizing
    return step(observed, backend, scale(observed, settings))


def _next_look(observed: Observed, status: Object, now: dt.datetime, *, running: bool) -> float | None:
    """Return seconds until something is due that no watch event announces. A deadline that has passed is not due."""
    assert observed.spec is not None
    waits = seconds_left(status, observed.spec, now)
    if running and observed.events_due is not None:
        waits.append(observed.events_due)
    if is_refused(observed):
        waits.append(RETRY_SECONDS)
    elif not running and (observed.job is not None or not observed.uses_shared):  # a SharedCluster wakes waiting runs
        waits.append(LOOK_SECONDS)
    if observed.is_guest and not observed.uses_shared:
        waits.append(REFERENCE_SECONDS)
    looks = (
        next_look(observed),
        next_unconfirmed(observed, now),
        idleness.next_look(observed, status),
        handover.next_look(observed),
    )
    waits += [look for look in looks if look is not None]
    return max(min(waits), SHORTEST_LOOK_SECONDS) if waits else None
