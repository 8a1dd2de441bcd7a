"""Decide on one shared cluster: from what the pass observed to a `Plan`. Pure.

`decide_shared` checks in this order: is the shared cluster deleted, is its spec invalid, is it stopped (suspended, shut
down, lost, or being replaced), is it lost now, is it idle, must it be replaced? Otherwise it starts or is ready. Only
its deletion ends a shared cluster: each phase leads to a next one.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

from flowcluster_api import conditions as c
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.model.plan import Delete, Plan
from flowcluster_operator.model.shared import SharedInvalid, SharedObserved, SharedRemains
from flowcluster_operator.policies import teardown
from flowcluster_operator.policies.shared import idle_shutdown, loss, phases, upgrade
from flowcluster_operator.policies.shared.worker_groups import worker_groups
from flowcluster_operator.reconcile.decide_shared_live import start_or_serve, why_not_buildable, written
from flowcluster_operator.reconcile.deletion import deletion
from flowcluster_operator.reconcile.intervals import SHORTEST_CHECK_SECONDS
from flowcluster_operator.reconcile.run_pass import is_empty
from flowcluster_operator.resources import POD, Object
from flowcluster_operator.settings import Settings
from flowcluster_operator.shared_specs import own_fields
from flowcluster_operator.status import shared_status
from flowcluster_operator.status.draft import Draft


def decide_shared(seen: SharedObserved | SharedInvalid | SharedRemains, settings: Settings, now: dt.datetime) -> Plan:
    """Return the plan for one pass over one shared cluster.

    Args:
        seen: the shared cluster; `SharedRemains` once its SharedCluster is deleted, `SharedInvalid` while its spec is
            invalid.
        settings: of the operator.
        now: the time.
    """
    if isinstance(seen, SharedRemains):
        actions = (*teardown.removals(seen.base, settings, now), *_test_removals(seen))
        return Plan(actions, requeue=teardown.stuck_in(seen.base, settings, now))
    if isinstance(seen, SharedInvalid):
        draft = _draft(seen.owner, seen.written, now)
        shared_status.fail(draft, c.INVALID_SPEC, seen.message, is_accepted=False)
        return written(draft)
    draft = _draft(seen.base.run, seen.base.written, now)
    shared_status.accept(seen, draft)
    if not phases.exists(draft.status):
        return _stopped(seen, draft, settings, now)
    if seen.spec.suspend:
        return _suspend(draft)
    backend = BACKENDS[seen.spec.kind]
    if gone := loss.lost(seen, draft.status, backend, now):
        shared_status.lose(draft, gone)
        return written(draft, requeue=0)
    if idle := idle_shutdown.idle_shutdown(seen, draft.status):
        shared_status.stop(draft, "Sleeping", c.IDLE_SHUTDOWN, idle)
        return written(draft, requeue=0)
    groups = worker_groups(seen, backend, settings)
    change = upgrade.upgrade(seen, draft.status, settings, why_not_buildable(seen, settings, backend, groups))
    if change is not None and change.is_due:
        shared_status.stop(draft, "Upgrading", change.reason, f"the cluster is replaced: {change.message}")
        return written(draft, requeue=0)
    return start_or_serve(seen, draft, settings, now, backend, groups, change)


def _draft(owner: Object, status: Object | None, now: dt.datetime) -> Draft:
    return Draft(owner, now, status, c.SHARED_PHASE_MOVES, own_fields)


def _test_removals(seen: SharedRemains) -> list[Delete]:
    """Return the deletes of the pods of `helm test`, which helm does not delete with the release."""
    metas = [pod["metadata"] for pod in seen.tests]
    return [Delete(POD, meta["name"], meta["uid"]) for meta in metas if "deletionTimestamp" not in meta]


def _suspend(draft: Draft) -> Plan:
    message = "suspended by spec.suspend: nothing of the cluster exists"
    shared_status.stop(draft, "Suspended", c.SUSPENDED, message)
    return written(draft, requeue=0)


def _stopped(seen: SharedObserved, draft: Draft, settings: Settings, now: dt.datetime) -> Plan:
    """Delete what is left of a stopped cluster. Then begin to create it again, unless it must stay stopped."""
    base = seen.base
    if seen.spec.suspend and draft.status.get("phase") != "Suspended":
        return _suspend(draft)
    if not phases.is_new(draft.status) and not is_empty(base):
        shared_status.explain_removal(draft, teardown.held(base, settings, now))
        plan = deletion(base, settings, now)
        return dataclasses.replace(plan, status=draft.changed(), events=tuple(draft.events))
    phase = draft.status.get("phase")
    if seen.spec.suspend or (phase == "Sleeping" and not idle_shutdown.is_needed(seen)):
        return written(draft)
    if phase == "Rebuilding" and (pause := loss.pause_left(draft.status, now)) > 0:
        shared_status.explain_pause(draft)
        return dataclasses.replace(written(draft), requeue=max(pause, SHORTEST_CHECK_SECONDS))
    if phase == "Sleeping":
        why = (
            f"FlowRun {seen.users[0].name} needs the cluster" if seen.users else "spec.idleShutdownSeconds was removed"
        )
        shared_status.begin(seen, draft, c.WAKING, why)
    else:
        shared_status.begin(seen, draft, c.CREATING, f"{seen.spec.kind} cluster")
    return written(draft, requeue=0)
