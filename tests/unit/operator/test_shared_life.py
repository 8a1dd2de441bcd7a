"""A shared cluster through its whole life, beside upstream operators and a garbage collector that do their work."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from flowcluster_api import conditions as c
from flowcluster_api import keeper as keepers
from flowcluster_api import names
from flowcluster_api.lease import Demand
from flowcluster_api.progress import Progress
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.plan import Create, Delete, PatchObject, SetWorkers
from flowcluster_operator.model.shared import SharedObserved, User
from flowcluster_operator.resources import LEASE, SECRET
from flowcluster_operator.settings import Settings
from tests.support.makers import stored
from tests.support.plans import condition
from tests.support.shared import GROUPS, KEY, USER, bare, deployment, plan_for, pod, spec
from tests.support.shared import SECRET as SECRET_NAME

Body = dict[str, Any]
SETTINGS = Settings()
_ACCESS = ("ServiceAccount", "Role", "RoleBinding")
#: Passes that a step of a life may take.
_PASSES = 15
BOTH = pytest.mark.parametrize("kind", ["Dask", "Ray"])


class Kubernetes:
    """What exists of one shared cluster, and what others make of it between two passes."""

    def __init__(self, body: Body) -> None:
        self.spec: Body = body
        self.status: Body = {}
        self.objects: dict[str, Body] = {}
        self.has_secret = False
        self.users: tuple[User, ...] = ()
        self.signs: DriverHeartbeat | None = None
        self.generation = 0

    def seen(self) -> SharedObserved:
        """What a pass observes now."""
        kind = self.spec["kind"]
        leader = names.HEAD_COMPONENTS[kind]
        cluster = self.objects.get(f"{kind}Cluster")
        numbers = self._numbers(cluster) if cluster is not None else {}
        pods, deployments = [], []
        if cluster is not None:
            pods.append(pod(leader, uid=f"pod-{leader}-{self.generation}"))
            deployments.append(deployment())
        for group, number in numbers.items():
            for index in range(1, number + 1):
                name = f"{group or 'worker'}-w{index}"
                pods.append(pod("worker", group=group, uid=name, name=f"{name}-x"))
                deployments.append(deployment("worker", group=group, number=index))
        seen = bare(
            self.spec, self.status, pods=pods, deployments=tuple(deployments) if kind == "Dask" else (),
            cluster=cluster, lease=self.objects.get("Lease"), credentials=SECRET_NAME if self.has_secret else None,
            access=tuple(body for name, body in self.objects.items() if name in _ACCESS),
            network_policies=tuple(body for kind, body in self.objects.items() if kind == "NetworkPolicy"),
            keeper=self.objects.get("Deployment"), users=self.users, driver=self.signs,
            verified_gone=not self.objects and not self.has_secret,
        )  # fmt: skip
        groups = [
            dataclasses.replace(facts, resource=self.objects.get(f"DaskWorkerGroup {facts.group.name}"))
            for facts in seen.groups
        ]
        return dataclasses.replace(seen, groups=tuple(groups))

    def _numbers(self, cluster: Body) -> dict[str, int]:
        """Workers by group, as the upstream operator makes them."""
        if cluster["kind"] == "RayCluster":
            groups = cluster["spec"]["workerGroupSpecs"]
            return {
                "" if group["groupName"] == "workers" else group["groupName"]: group["replicas"] for group in groups
            }
        further = {name: body for name, body in self.objects.items() if name.startswith("DaskWorkerGroup ")}
        named = {name.partition(" ")[2]: body["spec"]["worker"]["replicas"] for name, body in further.items()}
        return {"": cluster["spec"]["worker"]["replicas"], **named}

    def make_passes(self) -> Body:
        """Make passes until nothing changes; return the status."""
        for _ in range(_PASSES):
            plan = plan_for(self.seen(), SETTINGS)
            if plan.status is None and not plan.actions:
                return self.status
            for action in plan.actions:
                self._apply(action)
            self.status = plan.status or self.status
        raise AssertionError(f"it still changes: {plan}")

    def _apply(self, action: Any) -> None:
        if isinstance(action, Create) and action.resource is SECRET:
            self.has_secret = True
        elif isinstance(action, Create):
            group = action.body["metadata"]["labels"].get(names.LABEL_WORKER_GROUP)
            name = f"{action.resource.kind} {group}" if group else action.resource.kind
            assert name not in self.objects, f"{name} is created twice"
            self.objects[name] = stored(action.body, uid=f"uid-{name}-{self.generation}")
        elif isinstance(action, Delete) and action.resource is LEASE:
            self.objects, self.has_secret, self.signs = {}, False, None
            self.generation += 1
        elif isinstance(action, PatchObject) and action.resource is LEASE:
            assert isinstance(action.patch, dict)
            meta = self.objects["Lease"]["metadata"]
            meta["annotations"] = action.patch["metadata"]["annotations"]
        elif isinstance(action, SetWorkers) and isinstance(action.patch, dict):
            found = [body for body in self.objects.values() if body["metadata"]["uid"] == action.uid]
            for body in found:
                body["spec"]["worker"]["replicas"] = action.patch["spec"]["worker"]["replicas"]


def started(kind: str, **more: Any) -> Kubernetes:
    """A cluster that is Ready."""
    world = Kubernetes(spec(kind, **GROUPS, **more))
    assert world.make_passes()["phase"] == "Ready"
    return world


def idle() -> DriverHeartbeat:
    return DriverHeartbeat("keeper-1", None, 1.0, 0.0, Demand(0), Progress(None, 10_000), 10.0)


@BOTH
def test_cluster_becomes_ready_with_all_of_its_children(kind: str) -> None:
    world = started(kind)
    groups = ["DaskWorkerGroup gpu"] if kind == "Dask" else []

    assert set(world.objects) == {
        "Lease", f"{kind}Cluster", *groups, "Deployment", "ServiceAccount", "Role", "RoleBinding", "NetworkPolicy"
    }  # fmt: skip
    assert keepers.read(world.objects["Lease"]) is not None


@BOTH
def test_suspended_cluster_has_nothing_and_resumes(kind: str) -> None:
    world = started(kind)
    world.spec["suspend"] = True
    suspended = world.make_passes()
    left = set(world.objects)
    world.spec["suspend"] = False

    assert (suspended["phase"], left) == ("Suspended", set())
    assert (world.make_passes()["phase"], world.status["restarts"]) == ("Ready", 0)


@BOTH
def test_idle_cluster_is_shut_down_and_wakes_for_a_run_twenty_times(kind: str) -> None:
    world = started(kind, idleShutdownSeconds=600)
    for _ in range(20):
        world.users, world.signs = (), idle()
        assert world.make_passes()["phase"] == "Sleeping"
        assert world.objects == {}
        world.users = (USER,)
        assert world.make_passes()["phase"] == "Ready"


@BOTH
@pytest.mark.parametrize("mode", ["WhenIdle", "Now"])
def test_edited_image_replaces_the_cluster_according_to_its_mode(kind: str, mode: str) -> None:
    world = started(kind, upgrade=mode)
    before = world.objects[f"{kind}Cluster"]
    world.spec["image"], world.users = "analytics:2", (USER,)
    status = world.make_passes()
    assert (world.objects[f"{kind}Cluster"] is before) == (mode == "WhenIdle")
    assert condition(status, c.UP_TO_DATE)["status"] == ("False" if mode == "WhenIdle" else "True")

    world.users, world.signs = (), idle()
    assert condition(world.make_passes(), c.UP_TO_DATE)["status"] == "True"
    assert "analytics:2" in str(world.objects[f"{kind}Cluster"])


@BOTH
def test_deleted_cluster_resource_is_rebuilt_and_counted(kind: str) -> None:
    world = started(kind)
    del world.objects[f"{kind}Cluster"]
    status = world.make_passes()

    assert (status["phase"], status["restarts"]) == ("Ready", 1)
    assert [entry["reason"] for entry in status["story"]].count(c.CLUSTER_LOST) == 1


def test_lost_scheduler_of_dask_is_replaced_in_place() -> None:
    world = started("Dask")
    before = world.objects["DaskCluster"]
    world.generation += 1  # another pod
    status = world.make_passes()

    assert (status["phase"], status["restarts"]) == ("Ready", 1)
    assert world.objects["DaskCluster"] is before
    assert status["scheduler"]["uid"] == "pod-scheduler-1"


def test_groups_of_dask_follow_the_demand_of_the_keeper() -> None:
    world = started("Dask")
    world.signs = DriverHeartbeat("keeper-1", None, 1.0, 0.0, Demand(3, (), (("gpu", 2),)))
    status = world.make_passes()

    assert [(group["name"], group["ready"]) for group in status["workers"]] == [("default", 3), ("gpu", 2)]


def test_keys_of_both_kinds_differ() -> None:
    assert RunId(*KEY[:3]) != KEY
