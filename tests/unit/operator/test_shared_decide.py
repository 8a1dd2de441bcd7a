"""A shared cluster, pass by pass, until it is Ready, and while it is."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from flowcluster_api import conditions as c
from flowcluster_api import keeper as keepers
from flowcluster_api.keeper import Bounds, Instructions, LiveRun
from flowcluster_api.lease import Demand
from flowcluster_operator.model.failures import Rejection
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.model.plan import Delete, PatchObject, SetWorkers
from flowcluster_operator.model.shared import SharedInvalid
from flowcluster_operator.model.workers import ReplicaStability
from flowcluster_operator.policies.replicas import PATIENCE_SECONDS
from flowcluster_operator.resources import DASK_CLUSTER, DASK_WORKER_GROUP, LEASE, RAY_CLUSTER
from flowcluster_operator.settings import Settings
from tests.support.makers import SETTINGS, ago
from tests.support.plans import condition
from tests.support.shared import (
    GROUPS,
    NAME,
    SECRET,
    USER,
    bare,
    created,
    deployment,
    gone,
    informed,
    lease,
    objects,
    plan_for,
    pod,
    serving,
    shared,
    spec,
    status_after,
    with_status,
)

Body = dict[str, Any]
BOTH = pytest.mark.parametrize("kind", ["Dask", "Ray"])
STARTING: Body = {"phase": "Starting", "kind": "Dask", "startTime": ago(5), "restarts": 0}


# Created.


def test_status_has_the_phase_starting_before_children_are_created() -> None:
    plan = plan_for(bare())

    assert plan.actions == ()
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["restarts"]) == ("Starting", 0)


@BOTH
def test_children_are_created_in_their_order(kind: str) -> None:
    body = spec(kind, **GROUPS)
    status = {**STARTING, "kind": kind}
    first = bare(body, status)
    second = bare(body, status, lease=lease(None))
    third = bare(body, status, lease=lease(None), credentials=SECRET)
    fourth = bare(body, status, lease=lease(None), credentials=SECRET, cluster=objects(body)[0])

    assert created(plan_for(first)) == ["Lease"]
    assert created(plan_for(second)) == ["Secret"]
    assert created(plan_for(third)) == [f"{kind}Cluster", "ServiceAccount", "Role"]
    assert created(plan_for(fourth)) == [
        *(["DaskWorkerGroup"] if kind == "Dask" else []), "Deployment", "ServiceAccount", "Role"
    ]  # fmt: skip


def test_network_policy_is_created_when_the_operator_makes_them() -> None:
    seen = bare(status=STARTING, lease=lease(None), credentials=SECRET)

    assert "NetworkPolicy" in created(plan_for(seen, Settings()))
    assert "NetworkPolicy" not in created(plan_for(seen, SETTINGS))


def test_children_belong_to_the_lease_and_are_not_created_when_it_is_being_deleted() -> None:
    body = {**lease(None), "metadata": {**lease(None)["metadata"], "deletionTimestamp": ago(1)}}

    assert created(plan_for(bare(status=STARTING, lease=body, credentials=SECRET))) == []


@BOTH
def test_cluster_is_ready_when_its_scheduler_and_the_minimum_of_each_group_are(kind: str) -> None:
    starting = {"phase": "Starting", "kind": kind, "startTime": ago(9), "restarts": 0}
    seen = serving(spec(kind, **GROUPS), status=starting)
    without_gpu = [pod("scheduler"), pod("head"), pod("worker")]

    ready = status_after(seen)
    waiting = status_after(serving(spec(kind, **GROUPS), status=starting, pods=without_gpu))

    assert (ready["phase"], ready["reason"]) == ("Ready", c.CLUSTER_USABLE)
    assert condition(ready, c.READY)["status"] == "True"
    assert ready["address"].startswith("tls://" if kind == "Dask" else NAME)
    assert [(group["name"], group["ready"]) for group in ready["workers"]] == [("default", 1), ("gpu", 1)]
    assert ready["display"] == {"workers": "2/2"}
    assert waiting["phase"] == "Starting"
    assert "1 of 1 workers of group gpu" in waiting["message"]


def test_kind_that_is_not_installed_is_reported_in_the_first_pass() -> None:
    refused = Rejection("RayCluster", NAME, 404, "the server could not find the requested resource")
    seen = bare(
        spec("Ray"), {**STARTING, "kind": "Ray"}, lease=lease(None), credentials=SECRET, rejections=(refused,),
    )  # fmt: skip
    status = status_after(seen)

    assert status["reason"] == c.CLUSTER_KIND_MISSING
    assert "kuberay-operator.enabled" in status["message"]


def test_image_that_cannot_be_pulled_is_reported_with_the_field_of_the_shared_cluster() -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    seen = serving(status=STARTING, pods=[pod("scheduler", state=waiting)])
    status = status_after(seen)

    assert status["reason"] == "ImagePullBackOff"
    assert "spec.image" in status["message"]
    assert "spec.cluster" not in status["message"]


def test_template_that_is_not_allowed_fails_the_cluster_and_names_its_field() -> None:
    body = spec(workerGroups=[{"name": "gpu", "template": {"spec": {"hostNetwork": True}}}])
    status = status_after(bare(body, STARTING))

    assert (status["phase"], status["reason"]) == ("Failed", c.TEMPLATE_NOT_ALLOWED)
    assert "spec.workerGroups[gpu].template" in status["message"]
    assert condition(status, c.STALLED)["status"] == "True"


def test_failed_cluster_starts_when_its_spec_is_corrected() -> None:
    failed = {**STARTING, "phase": "Failed", "reason": c.TEMPLATE_NOT_ALLOWED}

    plan = plan_for(bare(status=failed))

    assert created(plan) == ["Lease"]
    assert plan.status is not None
    assert plan.status["phase"] == "Starting"


def test_invalid_spec_leaves_what_exists_as_it_is() -> None:
    owner = shared({"kind": "Spark"}, {"phase": "Ready"})
    plan = plan_for(SharedInvalid(gone(serving(), owner).base, owner, None, "spec.kind: unknown, not 'Spark'"))

    assert plan.actions == ()
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"]) == ("Failed", c.INVALID_SPEC)


# Ready.


@BOTH
def test_ready_cluster_is_left_alone_after_its_status_is_written(kind: str) -> None:
    seen = serving(spec(kind, **GROUPS))
    seen = with_status(seen, status_after(seen))
    plan = plan_for(seen)

    assert (plan.actions, plan.status, plan.events) == ((), None, ())


def test_runs_on_the_cluster_are_counted_and_given_to_the_keeper() -> None:
    user = USER._replace(priority=5, threads=4)
    seen = dataclasses.replace(serving(), users=(user,))
    plan = plan_for(seen)
    (amend,) = [action for action in plan.actions if isinstance(action, PatchObject)]
    assert isinstance(amend.patch, dict)

    assert plan.status is not None
    assert plan.status["runs"] == 1
    assert amend.resource is LEASE
    assert keepers.read(amend.patch) == Instructions((("", Bounds(1, 3)),), (LiveRun.of("uid-run", 5, 4),))


@pytest.mark.parametrize("number", [10_000, 12_000])
def test_instructions_for_thousands_of_runs_fit_into_the_lease_and_are_written_once(number: int) -> None:
    users = tuple(USER._replace(uid=f"uid-{n}", priority=n % 201 - 100, threads=n + 1) for n in range(number))
    seen = dataclasses.replace(serving(), users=users)
    (amend,) = [action for action in plan_for(seen).actions if isinstance(action, PatchObject)]
    found = keepers.read(amend.patch) if isinstance(amend.patch, dict) else None
    again = plan_for(informed(seen))

    assert found is not None
    assert len(found.runs) == min(number, keepers.room(found.groups))
    assert [action for action in again.actions if isinstance(action, PatchObject)] == []


def test_each_group_follows_its_own_demand() -> None:
    signs = DriverHeartbeat("keeper-1", None, 1.0, 0.0, Demand(3, (), (("gpu", 2),)))
    plan = plan_for(serving(spec(**GROUPS), driver=signs))
    steps = {action.resource: action.patch for action in plan.actions if type(action) is SetWorkers}

    assert steps == {
        DASK_CLUSTER: {"spec": {"worker": {"replicas": 3}}},
        DASK_WORKER_GROUP: {"spec": {"worker": {"replicas": 2}}},
    }


@pytest.mark.parametrize("settled", [ReplicaStability(0), ReplicaStability(PATIENCE_SECONDS)], ids=["new", "unmarked"])
@pytest.mark.parametrize("handled", [(), ("",), ("gpu",), ("", "gpu")], ids=["none", "own", "further", "both"])
def test_number_of_a_group_changes_when_dask_kubernetes_notices_it(
    handled: tuple[str, ...], settled: ReplicaStability
) -> None:
    signs = DriverHeartbeat("keeper-1", None, 1.0, 0.0, Demand(3, (), (("gpu", 2),)))
    seen = serving(spec(**GROUPS), driver=signs, stability=settled)
    (facts,) = seen.groups
    assert facts.resource is not None
    seen = dataclasses.replace(seen, groups=(dataclasses.replace(facts, stability=settled),))
    for name, obj in (("", seen.base.cluster), ("gpu", facts.resource)):
        if name not in handled and obj is not None:
            del obj["metadata"]["annotations"]
    plan = plan_for(seen)
    expected = {"", "gpu"} if settled.unchanged_for else set(handled)

    steps = {action.resource for action in plan.actions if type(action) is SetWorkers}
    assert steps == {DASK_CLUSTER if name == "" else DASK_WORKER_GROUP for name in expected}
    assert plan.requeue is None or plan.requeue <= PATIENCE_SECONDS
    assert len(expected) == 2 or plan.requeue is not None, "no event comes where kopf never writes its mark"


def test_demand_beyond_the_bounds_and_the_limit_of_the_administrator_is_clamped() -> None:
    signs = DriverHeartbeat("keeper-1", None, 1.0, 0.0, Demand(1000, (), (("gpu", 1000),)))
    seen = serving(spec(workers={"minimum": 1, "maximum": 50}, **GROUPS), driver=signs)
    limited = plan_for(seen, dataclasses.replace(SETTINGS, max_workers=7))
    steps = {
        action.resource: action.patch["spec"]["worker"]["replicas"]
        for action in limited.actions
        if type(action) is SetWorkers and isinstance(action.patch, dict)
    }

    assert steps == {DASK_CLUSTER: 7, DASK_WORKER_GROUP: 2}


def test_only_workers_that_have_retired_are_removed() -> None:
    signs = DriverHeartbeat("keeper-1", None, 1.0, 0.0, Demand(0, ("worker-w2",), ()))
    workers = [deployment("worker", number=number) for number in (1, 2, 3)]
    pods = [pod("scheduler"), *(pod("worker", uid=f"w{n}", name=f"worker-w{n}-x") for n in (1, 2, 3))]
    plan = plan_for(serving(driver=signs, deployments=(deployment(), *workers), pods=pods))

    assert [action.name for action in plan.actions if isinstance(action, Delete)] == ["worker-w2"]


def test_bounds_of_ray_groups_are_edited_live_in_their_place() -> None:
    built = spec("Ray", **GROUPS)
    body = spec("Ray", workerGroups=[{**GROUPS["workerGroups"][0], "maximum": 5}])
    plan = plan_for(serving(body, built))
    (step,) = [action for action in plan.actions if type(action) is SetWorkers]

    assert step.resource is RAY_CLUSTER
    assert step.patch == [
        {"op": "test", "path": "/spec/workerGroupSpecs/1/groupName", "value": "gpu"},
        {"op": "replace", "path": "/spec/workerGroupSpecs/1/maxReplicas", "value": 5},
    ]


@pytest.mark.parametrize(
    ("signs", "reason"),
    [
        (None, c.WAITING),
        (DriverHeartbeat(None, None, 1.0, 0.0), c.WAITING),
        (DriverHeartbeat("keeper-1", None, 1.0, 0.0), c.KEEPER_CONNECTED),
        (DriverHeartbeat("keeper-1", None, 61.0, 10.0), c.KEEPER_SILENT),
    ],
)
def test_silence_of_the_keeper_is_reported_and_ends_nothing(signs: DriverHeartbeat | None, reason: str) -> None:
    plan = plan_for(serving(driver=signs))
    assert plan.status is not None

    assert plan.status["phase"] == "Ready"
    assert condition(plan.status, c.SCALING)["reason"] == reason
    assert not any(isinstance(action, Delete) for action in plan.actions)


def test_workers_stay_when_the_keeper_is_silent() -> None:
    signs = DriverHeartbeat("keeper-1", None, 10_000.0, 10.0, Demand(2))
    body = spec()
    made = objects(body)[0]
    made["spec"]["worker"]["replicas"] = 2
    workers = [deployment("worker", number=number) for number in (1, 2)]
    seen = serving(body, driver=signs, cluster=made, deployments=(deployment(), *workers))

    assert [action for action in plan_for(seen).actions if type(action) is not PatchObject] == []
