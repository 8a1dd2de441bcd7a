"""Shared clusters on the API server: from the manifest to pods, and through each phase, by passes of the operator."""

from __future__ import annotations

import pytest

from flowcluster_api import conditions as c
from flowcluster_api import keeper as keepers
from flowcluster_api import names
from flowcluster_operator.reconcile import loop as loop_module
from flowcluster_operator.reconcile.intervals import RETRY_SECONDS
from flowcluster_operator.resources import (
    BY_KIND,
    DASK_CLUSTER,
    DEPLOYMENT,
    EVENT,
    FLOW_RUN,
    JOB,
    LEASE,
    NETWORK_POLICY,
    POD,
    RAY_CLUSTER,
    ROLE_BINDING,
    SHARED_CLUSTER,
    Resource,
)  # fmt: skip
from tests.support.fake_api import Answer
from tests.support.makers import KEY as RUN_KEY
from tests.support.makers import run
from tests.support.plans import condition
from tests.support.shared import GROUPS, KEY, NAME, spec
from tests.support.shared_world import World

BOTH = pytest.mark.parametrize("kind", ["Dask", "Ray"])
#: What exists of a cluster of each kind, besides pods and what controllers make.
MADE = ["Deployment", "Lease", "NetworkPolicy", "Role", "RoleBinding", "Secret", "ServiceAccount"]


@BOTH
async def test_cluster_becomes_ready_with_all_of_its_children(world: World, kind: str) -> None:
    world.create(spec(kind, **GROUPS))
    await world.work()
    status = world.status()

    (cluster,) = world.api.objects.all(BY_KIND[f"{kind}Cluster"])
    assert (status["phase"], status["name"], status["runs"]) == ("Ready", cluster["metadata"]["name"], 0)
    assert condition(status, c.READY)["status"] == "True"
    assert {kind for kind in (*MADE, f"{kind}Cluster") if kind not in world.kinds()} == set()
    assert [(group["name"], group["ready"]) for group in status["workers"]] == [("default", 1), ("gpu", 1)]
    instructions = keepers.read(world.api.objects.get(LEASE, KEY.namespace, NAME))
    assert instructions is not None
    assert dict(instructions.groups)["gpu"] == keepers.Bounds(1, 2, 1, (("GPU", 1.0),))


async def test_cluster_writes_its_status_three_times_when_it_starts(world: World) -> None:
    """Its start, what is created, and that it is usable."""
    world.create()
    await world.work()

    assert len(world.api.seen("PUT", SHARED_CLUSTER)) <= 3


@BOTH
async def test_cluster_that_is_ready_causes_no_requests(world: World, kind: str) -> None:
    world.create(spec(kind, **GROUPS))
    await world.work()
    world.api.requests.clear()
    await world.passes.make(KEY)

    assert world.api.requests == []


@BOTH
async def test_suspended_cluster_has_nothing_and_resumes(world: World, kind: str) -> None:
    world.create(spec(kind, **GROUPS))
    await world.work()
    world.edit({"suspend": True})
    await world.work()

    assert (world.status()["phase"], world.kinds()) == ("Suspended", set())
    assert condition(world.status(), c.READY)["status"] == "True"
    world.edit({"suspend": False})
    await world.work()
    assert (world.status()["phase"], world.status()["restarts"]) == ("Ready", 0)


async def test_ray_cluster_has_another_name_after_each_start_and_the_same_one_after_each_pass(world: World) -> None:
    """KubeRay remembers pods by the name of their RayCluster, also after that was deleted."""
    world.create(spec("Ray"))
    found: list[str] = []
    for _ in range(3):
        await world.work()
        await world.end()
        await world.begin_again()
        await world.work()
        (cluster,) = world.api.objects.all(RAY_CLUSTER)
        found.append(cluster["metadata"]["name"])
        assert world.status()["phase"] == "Ready"
        assert world.status()["address"].startswith(f"{found[-1]}-head-svc.")
        world.edit({"suspend": True})
        await world.work()
        world.edit({"suspend": False})

    assert len(set(found)) == len(found)
    assert all(name.startswith(NAME) for name in found)


@BOTH
async def test_deleted_cluster_leaves_nothing(world: World, kind: str) -> None:
    world.create(spec(kind, **GROUPS))
    await world.work()
    world.api.objects.delete(SHARED_CLUSTER, KEY.namespace, KEY.name, {"propagationPolicy": "Background"})
    await world.work()

    assert world.kinds() == set()
    assert world.passes.memory.credentials == {}


@BOTH
async def test_orphaned_cluster_is_deleted_with_all_it_has(world: World, kind: str) -> None:
    """`kubectl delete --cascade=orphan` removes the reference of the Lease."""
    world.create(spec(kind, **GROUPS))
    await world.work()
    world.api.objects.delete(SHARED_CLUSTER, KEY.namespace, KEY.name, {"propagationPolicy": "Orphan"})
    await world.work()

    assert world.kinds() == set()


@BOTH
@pytest.mark.parametrize("mode", ["WhenIdle", "Now"])
async def test_edited_image_replaces_an_idle_cluster(
    world: World, kind: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowcluster_operator.policies.shared.upgrade.CONFIRMED_SECONDS", 0.0)
    world.create(spec(kind, upgrade=mode))
    await world.work()
    before = world.api.objects.all(DASK_CLUSTER if kind == "Dask" else DEPLOYMENT)
    world.report(idle=600)
    world.edit({"image": "analytics:2"})
    await world.work(16)

    status = world.status()
    assert (status["phase"], condition(status, c.UP_TO_DATE)["status"]) == ("Ready", "True")
    assert c.UPGRADING in [entry["reason"] for entry in status["story"]]
    uids = {obj["metadata"]["uid"] for obj in before}
    assert uids.isdisjoint(obj["metadata"]["uid"] for obj in world.api.objects.all())


async def test_edited_image_waits_for_the_runs_on_the_cluster(world: World) -> None:
    world.create()
    world.use()
    await world.work()
    world.report(idle=600)
    world.edit({"image": "analytics:2"})
    await world.work()

    assert condition(world.status(), c.UP_TO_DATE)["reason"] == c.UPGRADE_PENDING
    assert "1 run " in condition(world.status(), c.UP_TO_DATE)["message"]


@BOTH
async def test_lost_scheduler_is_replaced_and_counted(world: World, kind: str) -> None:
    world.create(spec(kind))
    await world.work()
    (leader,) = world.pods(names.HEAD_COMPONENTS[kind])
    world.upstream.replace_pod(leader)
    await world.work(16)
    status = world.status()

    assert (status["phase"], status["restarts"]) == ("Ready", 1)
    assert status["scheduler"]["uid"] != leader["metadata"]["uid"]


async def test_kind_that_is_not_installed_is_reported_in_the_first_pass(world: World) -> None:
    world.api.installed.discard(DASK_CLUSTER)
    world.create()
    await world.work()
    status = world.status()

    assert status["reason"] == c.CLUSTER_KIND_MISSING
    assert "dask-kubernetes-operator.enabled" in status["message"]


@pytest.mark.parametrize(("refused", "phase"), [(NETWORK_POLICY, "Starting"), (ROLE_BINDING, "Ready")])
async def test_child_that_was_refused_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, refused: Resource, phase: str
) -> None:
    """The cluster starts behind its network policy only, and is usable without the rights of its keeper."""
    world.api.inject(Answer(403, "denied by a policy"), "POST", refused, times=None)
    world.create()
    await world.work()
    assert (world.status()["phase"], world.api.objects.all(refused)) == (phase, [])
    assert world.passes.queue.later[KEY] <= RETRY_SECONDS

    monkeypatch.setattr(loop_module, "RETRY_SECONDS", 1e-6)
    world.api.heal()
    await world.passes.make(KEY)
    assert len(world.api.objects.all(refused)) == 1


async def test_invalid_spec_fails_and_an_edit_leads_out(world: World) -> None:
    world.create({**spec(), "workers": {"template": {"spec": "x"}}})
    await world.work()
    assert (world.status()["phase"], world.status()["reason"]) == ("Failed", c.INVALID_TEMPLATE)

    world.edit({"workers": {"template": None}})
    await world.work()
    assert world.status()["phase"] == "Ready"


async def test_status_shows_why_writes_fail(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowcluster_operator.reconcile.run_pass.SHOWN_SECONDS", 0.0)
    world.create()
    world.api.inject(Answer(500, "etcd is away"), "POST", LEASE, times=2)
    await world.work()

    assert "etcd is away" in str(world.status()["story"])
    assert world.status()["phase"] == "Ready"


async def test_status_shows_why_passes_fail(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a bug")

    world.create()
    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "SHOWN_SECONDS", 0.0)
        patch.setattr(loop_module, "decide_shared", broken)
        await world.passes.make(KEY)
        await world.passes.make(KEY)
    assert (world.status()["phase"], world.status()["reason"]) == ("Pending", c.RECONCILE_ERROR)

    await world.passes.make(KEY)
    await world.work()
    assert world.status()["phase"] == "Ready"


async def test_status_names_why_the_keeper_does_not_run(world: World) -> None:
    """Without flowcluster in the image, the cluster has its minimum of workers."""
    world.create()
    await world.work()
    (keeper,) = world.pods(names.COMPONENT_KEEPER)
    ended = {"exitCode": 1, "reason": "Error", "message": "No module named flowcluster"}
    container = {
        "name": "keeper",
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": ended},
    }
    status = {"status": {**keeper["status"], "containerStatuses": [container]}}
    world.api.objects.merge(POD, KEY.namespace, keeper["metadata"]["name"], status)
    await world.work()

    assert world.status()["phase"] == "Ready"
    scaling = condition(world.status(), c.SCALING)
    assert (scaling["status"], "No module named flowcluster" in scaling["message"]) == ("False", True)


async def test_cluster_of_another_class_is_left_alone(world: World) -> None:
    world.create(spec(operatorClass="blue"))
    await world.work()

    assert (world.status(), world.kinds()) == ({}, set())


#: Children that a watch can report as deleted before the watch of SharedClusters reports the end of the cluster.
WATCHED_CHILDREN = [LEASE, DASK_CLUSTER, DEPLOYMENT, NETWORK_POLICY]


def creations(world: World) -> list[str]:
    """The requests that create something other than an Event."""
    return [str(item) for item in world.api.requests if item.method == "POST" and item.resource != EVENT]


@pytest.mark.parametrize("is_restarted", [False, True], ids=["same operator", "another operator"])
@pytest.mark.parametrize("missing", WATCHED_CHILDREN, ids=lambda resource: resource.kind)
async def test_no_child_is_created_for_a_cluster_whose_deletion_is_not_reported_yet(
    world: World, missing: Resource, is_restarted: bool
) -> None:
    world.create()
    await world.work()
    reported = world.api.objects.snapshot()
    for obj in reported.all(missing):
        reported.delete(missing, KEY.namespace, obj["metadata"]["name"])
    world.api.objects.delete(SHARED_CLUSTER, KEY.namespace, KEY.name)
    world.api.objects.collect_garbage()
    world.api.requests.clear()
    if is_restarted:
        await world.end()
        await world.begin_again()
    world.passes.watch(reported)
    await world.passes.make(KEY)

    assert creations(world) == []


@pytest.mark.parametrize("missing", [LEASE, JOB, NETWORK_POLICY], ids=lambda resource: resource.kind)
async def test_no_child_is_created_for_a_run_whose_deletion_is_not_reported_yet(
    world: World, missing: Resource
) -> None:
    world.create()
    await world.work()
    user = world.use()
    await world.work()
    reported = world.api.objects.snapshot()
    reported.delete(missing, user.namespace, names.child_name(user.name, user.uid))
    world.api.objects.delete(FLOW_RUN, user.namespace, user.name)
    world.api.objects.collect_garbage()
    world.api.requests.clear()
    before = reported.get(FLOW_RUN, user.namespace, user.name)["status"]
    world.passes.watch(reported)
    await world.passes.make(user)

    assert before["phase"] == "Running"
    assert creations(world) == []


@pytest.mark.parametrize("missing", [DEPLOYMENT, NETWORK_POLICY], ids=lambda resource: resource.kind)
async def test_missing_child_of_a_cluster_is_created_again_when_the_operator_was_restarted(
    world: World, missing: Resource
) -> None:
    world.create()
    await world.work()
    await world.end()
    before = len(world.api.objects.all(missing))
    (lost,) = [obj for obj in world.api.objects.all(missing) if obj["metadata"]["name"] in (NAME, f"{NAME}-keeper")]
    world.api.objects.delete(missing, KEY.namespace, lost["metadata"]["name"])
    await world.begin_again()
    await world.work()

    assert len(world.api.objects.all(missing)) == before


async def test_namesakes_of_both_kinds_live_side_by_side(world: World) -> None:
    world.create()
    meta = {"name": KEY.name, "uid": RUN_KEY.uid}
    world.api.objects.create(FLOW_RUN, KEY.namespace, {"metadata": meta, "spec": run()["spec"]})
    await world.work()
    world.api.objects.delete(FLOW_RUN, KEY.namespace, KEY.name)
    await world.work()

    assert world.status()["phase"] == "Ready"
    assert {obj["metadata"]["name"] for obj in world.api.objects.all(LEASE)} == {NAME}
