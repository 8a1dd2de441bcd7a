"""Whatever a pass observes of a shared cluster, it decides: no error, a legal move, a next look where one is due."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import HealthCheck, given, settings

from flowcluster_api import conditions as c
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.informer.projection import projected
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import Create, Delete, Plan, SetWorkers
from flowcluster_operator.model.shared import SharedObserved
from flowcluster_operator.policies.shared.worker_groups import worker_groups
from flowcluster_operator.resources import BY_KIND, DASK_WORKER_GROUP
from tests.support.makers import SETTINGS, ago
from tests.support.shared import (
    bare,
    gone,
    plan_for,
    shared,
    spec,
)
from tests.support.shared_worlds import PODS, worlds

Body = dict[str, Any]


def phase(status: Body | None) -> str:
    return str((status or {}).get("phase") or "Pending")


def after(seen: SharedObserved, plan: Plan) -> SharedObserved:
    """The cluster after the status of a plan was written."""
    run = {**seen.base.run, "status": plan.status}
    return dataclasses.replace(seen, base=dataclasses.replace(seen.base, run=run, written=plan.status))


MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@MANY
@given(worlds())
def test_decision_is_legal_in_every_world(seen: SharedObserved) -> None:
    plan = plan_for(seen)
    before = phase(seen.base.run.get("status"))
    following = phase(plan.status or seen.base.run.get("status"))

    assert following == before or following in c.SHARED_PHASE_MOVES[before]
    if plan.requeue == 0:
        assert plan.actions or plan.status is not None, "a pass that changes nothing is not repeated immediately"
    elif plan.requeue is None:
        assert following in ("Ready", "Suspended", "Sleeping", "Failed") or plan.actions
    else:
        assert plan.requeue >= 0.5


@MANY
@given(worlds())
def test_status_settles_in_every_world(seen: SharedObserved) -> None:
    """In a world that stays as it is, only a few status writes follow one another."""
    for _ in range(8):
        plan = plan_for(seen)
        if plan.status is None:
            return
        seen = after(seen, plan)

    raise AssertionError(f"the status still changes: {plan.status}")


@MANY
@given(worlds())
def test_texts_name_fields_of_a_shared_cluster_in_every_world(seen: SharedObserved) -> None:
    plan = plan_for(seen)
    texts = [str(plan.status), *(event.message for event in plan.events)]

    assert not any("spec.cluster" in text or "spec.flow" in text for text in texts)


@MANY
@given(worlds())
def test_requested_workers_stay_within_their_bounds_in_every_world(seen: SharedObserved) -> None:
    plan = plan_for(seen)
    parts = worker_groups(seen, BACKENDS[seen.spec.kind], SETTINGS)
    most = max(max(part.scale.maximum, part.scale.minimum) for part in parts)
    for action in plan.actions:
        if type(action) is SetWorkers and isinstance(action.patch, dict):
            live = sum("deletionTimestamp" not in obj["metadata"] for obj in seen.base.deployments)
            assert action.patch["spec"]["worker"]["replicas"] <= max(most, live)


@MANY
@given(worlds())
def test_nothing_is_created_beside_deletions_of_the_cluster_in_every_world(seen: SharedObserved) -> None:
    """A cluster is begun again only when nothing of the former one is left."""
    plan = plan_for(seen)
    roots = [action for action in plan.actions if isinstance(action, Delete) and action.resource.kind == "Lease"]
    creates = [action for action in plan.actions if isinstance(action, Create)]

    assert not (roots and creates)
    assert not (creates and phase(plan.status or seen.base.run.get("status")) in ("Suspended", "Sleeping"))


@MANY
@given(worlds())
def test_users_keep_the_cluster_awake_in_every_world(seen: SharedObserved) -> None:
    before, following = phase(seen.base.run.get("status")), phase(plan_for(seen).status)

    assert not (seen.users and following == "Sleeping" and before != "Sleeping")


def kept(value: Any) -> Any:
    """What the store keeps of an object or of several; other values as they are."""
    if type(value) is tuple:
        return tuple(kept(item) for item in value)
    is_object = isinstance(value, dict) and value.get("kind") in BY_KIND and "metadata" in value
    # Of worker groups, the store keeps metadata only until the operator serves shared clusters.
    return projected(BY_KIND[value["kind"]], value) if is_object else value


@MANY
@given(worlds())
def test_plan_is_the_same_on_what_the_store_keeps_in_every_world(seen: SharedObserved) -> None:
    fields: Body = {field.name: kept(getattr(seen.base, field.name)) for field in dataclasses.fields(seen.base)}

    assert all(facts.resource is None or facts.resource["kind"] == DASK_WORKER_GROUP.kind for facts in seen.groups)
    assert plan_for(dataclasses.replace(seen, base=Observed(**fields))) == plan_for(seen)


@given(PODS)
def test_each_worker_belongs_to_one_group(pods: list[Body]) -> None:
    body = spec(workerGroups=[{"name": "gpu"}, {"name": "other"}])
    seen = bare(body, pods=pods)
    counted = [worker.uid for facts in (None, *seen.groups) for worker in seen.of_group(facts).of("worker")]
    workers = [item["metadata"]["uid"] for item in pods if item["metadata"]["uid"].startswith("pod-worker")]

    assert sorted(counted) == sorted(workers)


def test_cluster_that_is_being_deleted_gets_no_children() -> None:
    plan = plan_for(gone(bare(), shared(spec(), None, deletionTimestamp=ago(1))))

    assert (plan.actions, plan.status) == ((), None)
