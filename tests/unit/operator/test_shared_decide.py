"""The life of a shared cluster, pass by pass: created, used, scaled, shut down, upgraded, lost and rebuilt."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from flowcluster_api import conditions as c
from flowcluster_api import keeper as keepers
from flowcluster_api.keeper import Bounds, Instructions, LiveRun
from flowcluster_api.lease import Demand
from flowcluster_api.progress import Progress
from flowcluster_operator.model import Amend, Create, Delete, DriverSigns, Plan, Rejection, Settled, SetWorkers, Trouble
from flowcluster_operator.policies.resizing import PATIENCE_SECONDS
from flowcluster_operator.policies.shared.allowing import may_use
from flowcluster_operator.resources import DASK_CLUSTER, DASK_WORKER_GROUP, LEASE, NETWORK_POLICY, RAY_CLUSTER
from flowcluster_operator.settings import Settings
from flowcluster_operator.shared_model import SharedObserved
from tests.support.makers import SETTINGS, ago
from tests.support.plans import condition
from tests.support.shared import (
    GROUPS,
    NAME,
    SECRET,
    USER,
    bare,
    deployment,
    lease,
    objects,
    plan_for,
    pod,
    serving,
    shared,
    spec,
    status_after,
)

Body = dict[str, Any]
BOTH = pytest.mark.parametrize("kind", ["Dask", "Ray"])
STARTING: Body = {"phase": "Starting", "kind": "Dask", "startTime": ago(5), "restarts": 0}


def created(plan: Plan) -> list[str]:
    return [action.resource.kind for action in plan.actions if isinstance(action, Create)]


def idle(seconds: int = 10_000, confirmed: float = 10.0, silent: float = 1.0) -> DriverSigns:
    """A keeper that reports that nothing has run for that long."""
    return DriverSigns("keeper-1", None, silent, 0.0, Demand(0), Progress(None, seconds), confirmed)


def with_status(seen: SharedObserved, status: Body) -> SharedObserved:
    """The cluster after its status was written."""
    assert seen.base.run is not None
    run = {**seen.base.run, "status": status}
    return dataclasses.replace(seen, base=dataclasses.replace(seen.base, run=run, written=status))


# Created.


def test_status_says_starting_before_anything_is_created() -> None:
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
    third = bare(body, status, lease=lease(None), keys=SECRET)
    fourth = bare(body, status, lease=lease(None), keys=SECRET, cluster=objects(body)[0])

    assert created(plan_for(first)) == ["Lease"]
    assert created(plan_for(second)) == ["Secret"]
    assert created(plan_for(third)) == [f"{kind}Cluster", "ServiceAccount", "Role"]
    assert created(plan_for(fourth)) == [
        *(["DaskWorkerGroup"] if kind == "Dask" else []), "Deployment", "ServiceAccount", "Role"
    ]  # fmt: skip


def test_network_policy_is_created_when_the_operator_makes_them() -> None:
    seen = bare(status=STARTING, lease=lease(None), keys=SECRET)

    assert "NetworkPolicy" in created(plan_for(seen, Settings()))
    assert "NetworkPolicy" not in created(plan_for(seen, SETTINGS))


def test_children_belong_to_the_lease_and_are_not_created_when_it_is_being_deleted() -> None:
    body = {**lease(None), "metadata": {**lease(None)["metadata"], "deletionTimestamp": ago(1)}}

    assert created(plan_for(bare(status=STARTING, lease=body, keys=SECRET))) == []


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
        spec("Ray"), {**STARTING, "kind": "Ray"}, lease=lease(None), keys=SECRET, rejections=(refused,),
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
    seen = serving(run=shared({"kind": "Spark"}, {"phase": "Ready"}))
    plan = plan_for(seen)

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
    (amend,) = [action for action in plan.actions if isinstance(action, Amend)]
    assert isinstance(amend.patch, dict)

    assert plan.status is not None
    assert plan.status["runs"] == 1
    assert amend.resource is LEASE
    assert keepers.read(amend.patch) == Instructions((("", Bounds(1, 3)),), (LiveRun("uid-run", 5, 4),))


def test_each_group_follows_its_own_demand() -> None:
    signs = DriverSigns("keeper-1", None, 1.0, 0.0, Demand(3, (), (("gpu", 2),)))
    plan = plan_for(serving(spec(**GROUPS), driver=signs))
    steps = {action.resource: action.patch for action in plan.actions if type(action) is SetWorkers}

    assert steps == {
        DASK_CLUSTER: {"spec": {"worker": {"replicas": 3}}},
        DASK_WORKER_GROUP: {"spec": {"worker": {"replicas": 2}}},
    }


@pytest.mark.parametrize("settled", [Settled(0), Settled(PATIENCE_SECONDS)], ids=["new", "unmarked"])
@pytest.mark.parametrize("handled", [(), ("",), ("gpu",), ("", "gpu")], ids=["none", "own", "further", "both"])
def test_number_of_a_group_changes_when_dask_kubernetes_notices_it(handled: tuple[str, ...], settled: Settled) -> None:
    signs = DriverSigns("keeper-1", None, 1.0, 0.0, Demand(3, (), (("gpu", 2),)))
    seen = serving(spec(**GROUPS), driver=signs, settled=settled)
    (facts,) = seen.groups
    assert facts.resource is not None
    seen = dataclasses.replace(seen, groups=(dataclasses.replace(facts, settled=settled),))
    for name, obj in (("", seen.base.cluster), ("gpu", facts.resource)):
        if name not in handled and obj is not None:
            del obj["metadata"]["annotations"]
    plan = plan_for(seen)
    expected = {"", "gpu"} if settled.same else set(handled)

    steps = {action.resource for action in plan.actions if type(action) is SetWorkers}
    assert steps == {DASK_CLUSTER if name == "" else DASK_WORKER_GROUP for name in expected}
    assert plan.requeue is None or plan.requeue <= PATIENCE_SECONDS
    assert len(expected) == 2 or plan.requeue is not None, "no event comes where kopf never writes its mark"


def test_demand_beyond_the_bounds_and_the_limit_of_the_administrator_is_clamped() -> None:
    signs = DriverSigns("keeper-1", None, 1.0, 0.0, Demand(1000, (), (("gpu", 1000),)))
    seen = serving(spec(workers={"minimum": 1, "maximum": 50}, **GROUPS), driver=signs)
    limited = plan_for(seen, dataclasses.replace(SETTINGS, max_workers=7))
    steps = {
        action.resource: action.patch["spec"]["worker"]["replicas"]
        for action in limited.actions
        if type(action) is SetWorkers and isinstance(action.patch, dict)
    }

    assert steps == {DASK_CLUSTER: 7, DASK_WORKER_GROUP: 2}


def test_only_workers_that_have_retired_are_removed() -> None:
    signs = DriverSigns("keeper-1", None, 1.0, 0.0, Demand(0, ("worker-w2",), ()))
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
        (DriverSigns(None, None, 1.0, 0.0), c.WAITING),
        (DriverSigns("keeper-1", None, 1.0, 0.0), c.KEEPER_CONNECTED),
        (DriverSigns("keeper-1", None, 61.0, 10.0), c.KEEPER_SILENT),
    ],
)
def test_silence_of_the_keeper_is_reported_and_ends_nothing(signs: DriverSigns | None, reason: str) -> None:
    plan = plan_for(serving(driver=signs))
    assert plan.status is not None

    assert plan.status["phase"] == "Ready"
    assert condition(plan.status, c.SCALING)["reason"] == reason
    assert not any(isinstance(action, Delete) for action in plan.actions)


def test_workers_stay_when_the_keeper_is_silent() -> None:
    signs = DriverSigns("keeper-1", None, 10_000.0, 10.0, Demand(2))
    body = spec()
    made = objects(body)[0]
    made["spec"]["worker"]["replicas"] = 2
    workers = [deployment("worker", number=number) for number in (1, 2)]
    seen = serving(body, driver=signs, cluster=made, deployments=(deployment(), *workers))

    assert [action for action in plan_for(seen).actions if type(action) is not Amend] == []


# Suspended and idle.


def test_suspended_cluster_has_its_status_written_before_it_is_deleted() -> None:
    seen = serving(spec(suspend=True))
    first = plan_for(seen)
    assert first.status is not None
    second = plan_for(with_status(seen, first.status))

    assert (first.actions, first.status["phase"]) == ((), "Suspended")
    assert not {"address", "workers", "scheduler", "startTime"} & set(first.status)
    assert [(action.resource, action.name) for action in second.actions if isinstance(action, Delete)] == [
        (LEASE, NAME)
    ]


def test_cluster_that_is_idle_for_long_is_shut_down_with_its_scheduler() -> None:
    status = status_after(serving(spec(idleShutdownSeconds=600), driver=idle(600)))

    assert (status["phase"], status["reason"]) == ("Sleeping", c.IDLE_SHUTDOWN)
    assert condition(status, c.READY)["status"] == "True"


@pytest.mark.parametrize(
    ("signs", "users"),
    [
        (idle(599), ()),
        (idle(600, confirmed=1.0), ()),
        (idle(600, silent=61.0), ()),
        (idle(600)._replace(demand=Demand(1)), ()),
        (idle(600)._replace(demand=Demand(0, (), (("gpu", 1),))), ()),
        (idle(600)._replace(progress=None), ()),
        (idle(600), (USER,)),
        (None, ()),
    ],
)
def test_cluster_is_not_shut_down_when_it_works_or_may_work(signs: DriverSigns | None, users: tuple[Any, ...]) -> None:
    seen = serving(spec(idleShutdownSeconds=600), driver=signs, users=users)

    assert status_after(seen)["phase"] == "Ready"


def test_sleeping_cluster_wakes_for_a_run_only_when_nothing_of_it_is_left() -> None:
    body, status = spec(idleShutdownSeconds=600), {"phase": "Sleeping", "kind": "Dask", "restarts": 1}
    asleep = bare(body, status, verified_gone=True)
    wanted = dataclasses.replace(asleep, users=(USER,))
    ending = bare(body, status, users=(USER,), lease=lease())

    assert plan_for(asleep).requeue is None
    assert status_after(wanted)["phase"] == "Starting"
    assert "FlowRun report" in status_after(wanted)["story"][-1]["message"]
    assert status_after(wanted)["restarts"] == 1
    assert plan_for(ending).status is None or plan_for(ending).status["phase"] == "Sleeping"  # type: ignore[index]
    assert any(isinstance(action, Delete) for action in plan_for(ending).actions)


# Upgraded.

OTHER_IMAGE = spec(image="analytics:2")


def test_upgrade_waits_for_runs_and_says_so_while_the_cluster_stays_ready() -> None:
    seen = dataclasses.replace(serving(OTHER_IMAGE, spec(), driver=idle()), users=(USER,))
    status = status_after(seen)

    assert status["phase"] == "Ready"
    assert (condition(status, c.UP_TO_DATE)["status"], status["reason"]) == ("False", c.UPGRADE_PENDING)
    assert "1 run on the cluster" in status["message"]
    assert condition(status, c.READY)["status"] == "True"


@pytest.mark.parametrize("signs", [None, idle(0), idle(confirmed=0.0), idle(silent=100.0)])
def test_upgrade_waits_when_the_keeper_does_not_report_idleness(signs: DriverSigns | None) -> None:
    status = status_after(serving(OTHER_IMAGE, spec(), driver=signs))

    assert (status["phase"], status["reason"]) == ("Ready", c.UPGRADE_PENDING)


@pytest.mark.parametrize("mode", ["WhenIdle", "Now"])
def test_cluster_is_replaced_when_its_mode_says_so(mode: str) -> None:
    body = {**OTHER_IMAGE, "upgrade": mode}
    seen = serving(body, spec(), driver=idle(), users=(USER,) if mode == "Now" else ())
    status = status_after(seen)

    assert (status["phase"], status["reason"]) == ("Upgrading", c.UPGRADING)
    deleting = plan_for(with_status(seen, status))
    assert [action.resource for action in deleting.actions if isinstance(action, Delete)] == [LEASE]
    begun = status_after(bare(body, status, verified_gone=True))
    assert (begun["phase"], begun["restarts"]) == ("Starting", 0)


def test_cluster_that_was_never_ready_is_replaced_immediately() -> None:
    starting = {**STARTING, "startTime": ago(100)}
    seen = serving(OTHER_IMAGE, spec(image="wrong"), status=starting, users=(USER,), pods=[])

    assert status_after(seen)["phase"] == "Upgrading"


def test_cluster_stays_when_none_can_be_built_from_the_new_spec() -> None:
    body = spec(upgrade="Now", workers={"minimum": 1, "template": {"spec": {"hostNetwork": True}}})
    status = status_after(serving(body, spec(), driver=idle()))

    assert status["phase"] == "Ready"
    assert condition(status, c.UP_TO_DATE)["reason"] == c.TEMPLATE_NOT_ALLOWED
    assert "spec.workers.template" in condition(status, c.UP_TO_DATE)["message"]


@BOTH
@pytest.mark.parametrize("changed", [{"workers": {"minimum": 0, "maximum": 9}}, {"idleShutdownSeconds": 99}])
def test_bounds_and_idle_time_replace_nothing(kind: str, changed: Body) -> None:
    status = status_after(serving(spec(kind, **changed), spec(kind), driver=idle(5)))

    assert condition(status, c.UP_TO_DATE)["status"] == "True"


@BOTH
def test_group_that_was_added_waits_for_the_upgrade(kind: str) -> None:
    seen = dataclasses.replace(serving(spec(kind, **GROUPS), spec(kind)), users=(USER,))
    plan = plan_for(seen)

    assert plan.status is not None
    assert condition(plan.status, c.UP_TO_DATE)["status"] == "False"
    assert created(plan) == []


def test_keeper_is_created_again_while_an_upgrade_waits() -> None:
    seen = serving(OTHER_IMAGE, spec(), keeper=None, users=(USER,))

    assert created(plan_for(seen)) == ["Deployment"]


def test_grant_of_a_namespace_changes_the_network_policy_live() -> None:
    body = spec(allowedNamespaces=["team"])
    seen = serving(body)
    old = serving().base.network_policies
    plan = plan_for(dataclasses.replace(seen, base=dataclasses.replace(seen.base, network_policies=old)))
    (amend,) = [action for action in plan.actions if isinstance(action, Amend)]

    assert amend.resource is NETWORK_POLICY
    assert "team" in str(amend.patch)


@pytest.mark.parametrize(
    ("namespace", "is_allowed"), [("platform", True), ("team", True), ("other", False), ("", False)]
)
def test_runs_of_other_namespaces_need_the_grant(namespace: str, is_allowed: bool) -> None:
    parsed = bare(spec(allowedNamespaces=["team"])).spec
    assert parsed is not None

    assert may_use(parsed, "platform", namespace) is is_allowed


# Lost.

LOST_LEADERS: dict[str, list[Body]] = {
    "gone": [],
    "terminating": [pod("scheduler", deleted=True)],
    "restarted": [pod("scheduler", restarts=1)],
    "other pod": [pod("scheduler", uid="pod-other")],
}


@pytest.mark.parametrize("how", LOST_LEADERS)
def test_lost_scheduler_is_counted_and_replaced_in_place_on_dask(how: str) -> None:
    seen = serving(pods=[*LOST_LEADERS[how], pod("worker")])
    plan = plan_for(seen)
    assert plan.status is not None

    assert plan.actions == ()
    assert (plan.status["phase"], plan.status["reason"]) == ("Rebuilding", c.CLUSTER_LOST)
    assert (plan.status["restarts"], plan.status["startTime"]) == (1, ago(400))
    assert [event.type for event in plan.events] == ["Warning"]


def test_next_scheduler_that_is_ready_ends_the_rebuilding() -> None:
    lost = status_after(serving(pods=[pod("worker")]))
    status = status_after(serving(status=lost, pods=[pod("scheduler", uid="pod-next"), pod("worker")]))

    assert (status["phase"], status["restarts"]) == ("Ready", 1)
    assert status["scheduler"]["uid"] == "pod-next"
    assert "lostTime" not in status
    assert status["story"][-1]["reason"] == c.REBUILT


def test_scheduler_that_stays_away_has_the_cluster_deleted_and_begun_again() -> None:
    lost = {**status_after(serving(pods=[pod("worker")])), "lostTime": ago(61)}
    status = status_after(serving(status=lost, pods=[pod("worker")]))

    assert status["phase"] == "Rebuilding"
    assert "startTime" not in status


@pytest.mark.parametrize(
    "changes",
    [
        {"cluster": None},
        {"cluster": {**objects()[0], "metadata": {**objects()[0]["metadata"], "deletionTimestamp": ago(1)}}},
        {"lease": None},
    ],
)
def test_lost_cluster_or_lease_has_everything_deleted_and_begun_again(changes: Body) -> None:
    status = status_after(serving(**changes))

    assert (status["phase"], status["restarts"]) == ("Rebuilding", 1)
    assert "startTime" not in status
    begun = status_after(bare(status=status, verified_gone=True))
    assert (begun["phase"], begun["restarts"]) == ("Starting", 1)


def test_lost_head_of_ray_has_everything_deleted_and_begun_again() -> None:
    status = status_after(serving(spec("Ray"), pods=[pod("worker")]))

    assert (status["phase"], status["restarts"]) == ("Rebuilding", 1)
    assert "startTime" not in status


def test_losses_that_follow_each_other_quickly_are_rebuilt_after_growing_pauses() -> None:
    waits = []
    for losses in range(1, 9):
        status = {"phase": "Rebuilding", "kind": "Dask", "quickLosses": losses, "lostTime": ago(0), "restarts": losses}
        waits.append(plan_for(bare(status=status, verified_gone=True)).requeue)

    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]


def test_loss_after_long_service_is_not_a_quick_one() -> None:
    body: Body = {"pods": [pod("worker")]}
    status = serving().base.written
    assert status is not None
    quick = {**status, "quickLosses": 3, "readyTime": ago(100)}

    assert status_after(serving(status={**quick, "readyTime": ago(1000)}, **body))["quickLosses"] == 1
    assert status_after(serving(status=quick, **body))["quickLosses"] == 4


# Gone.


def test_deleted_cluster_is_left_to_garbage_collection() -> None:
    seen = serving()
    gone = dataclasses.replace(seen, spec=None, base=dataclasses.replace(seen.base, run=None, spec=None))
    plan = plan_for(gone)

    assert plan.status is None
    assert [(action.resource, action.name) for action in plan.actions if isinstance(action, Delete)] == [(LEASE, NAME)]


def test_lease_of_another_owner_is_not_deleted() -> None:
    foreign = lease()
    foreign["metadata"]["ownerReferences"][0]["kind"] = "FlowRun"
    seen = bare(lease=foreign)
    gone = dataclasses.replace(seen, spec=None, base=dataclasses.replace(seen.base, run=None, spec=None))

    assert plan_for(gone).actions == ()


def test_failing_passes_are_reported() -> None:
    status = status_after(serving(trouble=Trouble(c.API_ERROR, "429", 60.0)))

    assert (status["reason"], status["message"]) == (c.API_ERROR, "429")
