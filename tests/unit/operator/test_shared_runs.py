"""Runs that name a SharedCluster: they wait for it, wake it, use it, and lose it."""

from __future__ import annotations

import pytest

from flowcluster_api import conditions as c
from flowcluster_api import driver, names
from flowcluster_api import keeper as keepers
from flowcluster_operator.desired.credentials import credentials_in
from flowcluster_operator.resources import (
    FLOW_RUN,
    JOB,
    LEASE,
    NETWORK_POLICY,
    SECRET,
    Object,
)
from tests.support.fake_api import Answer
from tests.support.plans import condition
from tests.support.shared import KEY, NAME, spec
from tests.support.shared_users import end, instructed, job, users
from tests.support.shared_world import World

BOTH = pytest.mark.parametrize("kind", ["Dask", "Ray"])


@BOTH
async def test_run_runs_on_the_cluster(world: World, kind: str) -> None:
    world.create(spec(kind))
    await world.work()
    key = world.use()
    await world.work()
    status, shared = world.status(key), world.status()
    made = job(world, key)["spec"]["template"]
    environment = {item["name"]: item.get("value") for item in made["spec"]["containers"][0]["env"]}

    assert status["phase"] == "Running"
    used = status["cluster"]
    assert (used["kind"], used["name"], used["address"]) == (kind, shared["name"], shared["address"])
    assert used["scheduler"] == shared["scheduler"]
    assert environment[driver.ENV_CLUSTER_ADDRESS] == shared["address"]
    assert environment[driver.ENV_CLUSTER_KIND] == kind
    assert credentials_in(made["spec"]) in [obj["metadata"]["name"] for obj in world.api.objects.all(SECRET)]
    assert driver.ENV_CLUSTER_ADAPTS not in environment
    assert made["metadata"]["labels"][names.LABEL_USES] == KEY.uid
    assert (shared["runs"], instructed(world)) == (1, [key.uid])


async def test_run_has_no_cluster_and_no_secret_of_its_own(world: World) -> None:
    world.create()
    await world.work()
    before = {obj["metadata"]["uid"] for obj in world.api.objects.all()}
    world.use()
    await world.work()
    new = {obj["kind"] for obj in world.api.objects.all() if obj["metadata"]["uid"] not in before}

    assert new == {"FlowRun", "Event", "Lease", "Job", "Pod", "Role", "RoleBinding", "ServiceAccount", "NetworkPolicy"}


async def test_run_on_a_warm_cluster_writes_its_status_as_often_as_one_with_a_cluster_of_its_own(world: World) -> None:
    world.create()
    await world.work()
    own = world.use("own", cluster={"kind": "Dask", "workers": {"minimum": 0}})
    await world.work()
    world.api.requests.clear()
    key = world.use()
    await world.work()

    assert {world.status(own)["phase"], world.status(key)["phase"]} == {"Running"}
    assert len(world.api.seen("PUT", FLOW_RUN)) <= 3


@BOTH
@pytest.mark.parametrize("flow", [{"entrypoint": "flow.py:main"}, None], ids=["driver", "client"])
async def test_run_on_a_ready_cluster_does_not_report_that_it_waits_for_that(
    world: World, kind: str, flow: Object | None
) -> None:
    world.create(spec(kind))
    await world.work()
    assert world.status()["phase"] == "Ready"
    world.use(flow=flow)
    await world.work()
    writes = [request.body["status"] for request in world.api.requests if request.resource is FLOW_RUN]
    messages = [status["message"] for status in writes if status["phase"] == "Starting"]

    assert messages[0].split(", ")[0] == "waiting to join SharedCluster analytics"
    assert [message for message in messages if "waiting for SharedCluster" in message] == []


async def test_run_that_waits_causes_no_requests_by_polling(world: World) -> None:
    world.create(spec(suspend=True))
    key = world.use()
    await world.work()
    world.api.requests.clear()
    wait = await world.passes.make(key)

    assert world.api.requests == []
    assert wait is not None
    assert wait > 60, "only its start deadline makes it due"
    assert world.status(key)["reason"] == c.SUSPENDED


@pytest.mark.parametrize("flow", [{"entrypoint": "flow.py:main"}, None], ids=["driver", "client"])
async def test_run_does_not_begin_before_the_instructions_have_it(world: World, flow: Object | None) -> None:
    """The keeper would release what it puts onto the cluster."""
    world.create()
    await world.work()
    world.api.inject(Answer(500), "PATCH", LEASE, times=None)
    key = world.use(flow=flow)
    await world.work()
    assert (world.status(key)["phase"], world.api.objects.all(JOB)) == ("Starting", [])
    assert "address" not in world.status(key).get("cluster", {})

    world.api.heal()
    await world.passes.make(KEY)
    await world.work()
    assert (world.status(key)["phase"], instructed(world)) == ("Running", [key.uid])


async def test_run_waits_when_the_instructions_have_no_room_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keepers, "_TARGET", 55)
    world.create()
    keys = [world.use(f"run-{number}") for number in range(3)]
    await world.work()
    begun = [key for key in keys if world.status(key)["phase"] == "Running"]
    waiting = [key for key in keys if key not in begun]
    messages = {world.status(key)["message"].split(", ")[0] for key in waiting}
    assert (len(begun), instructed(world)) == (1, [key.uid for key in begun])
    assert messages == {"waiting to join SharedCluster analytics: 3 runs use it or wait for it"}

    end(world, begun[0])
    await world.work()
    assert [world.status(key)["phase"] for key in keys].count("Running") == len(begun)
    assert not {begun[0].uid} & set(instructed(world))


async def test_end_of_a_run_takes_it_off_the_instructions(world: World) -> None:
    world.create()
    key, other = world.use(), world.use("other")
    await world.work()
    end(world, key)
    await world.work()

    assert (world.status(key)["phase"], world.status()["runs"], instructed(world)) == ("Succeeded", 1, [other.uid])
    assert world.status()["phase"] == "Ready"


async def test_deleted_run_is_taken_off_the_instructions(world: World) -> None:
    world.create()
    key = world.use()
    await world.work()
    world.api.objects.delete(FLOW_RUN, key.namespace, key.name)
    await world.work()

    assert (world.status()["runs"], instructed(world)) == (0, [])


async def test_run_stays_in_the_instructions_while_its_state_is_invalidated(world: World) -> None:
    """The keeper would release what a run holds that is not in them."""
    world.create()
    key = world.use()
    await world.work()
    world.passes.store.invalidate(key.uid)
    await world.passes.make(KEY)

    assert instructed(world) == [key.uid]


async def test_run_keeps_its_cluster_while_the_state_of_that_is_invalidated(world: World) -> None:
    world.create()
    key = world.use()
    await world.work()
    world.passes.store.invalidate(KEY.uid)
    await world.passes.make(key)

    assert world.status(key)["phase"] == "Running"


@BOTH
async def test_run_wakes_a_cluster_that_was_shut_down(world: World, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowcluster_operator.policies.shared.idle_shutdown.CONFIRMED_SECONDS", 0.0)
    world.create(spec(kind, idleShutdownSeconds=600))
    await world.work()
    world.report(idle=700)
    await world.work()
    assert (world.status()["phase"], world.kinds()) == ("Sleeping", set())

    key = world.use()
    await world.work(16)
    assert (world.status()["phase"], world.status(key)["phase"]) == ("Ready", "Running")
    assert "Warning" not in [
        event["type"] for event in world.api.objects.all() if event.get("involvedObject", {}).get("uid") == key.uid
    ]


async def test_driver_starts_beside_a_cluster_that_wakes(world: World) -> None:
    """Not after it: with the credentials that exist already."""
    world.create(spec(suspend=True))
    key = world.use()
    await world.work()
    world.edit({"suspend": False})
    world.passes.watch(world.api.objects)
    await world.passes.settle()

    assert world.status()["phase"] == "Starting"
    assert credentials_in(job(world, key)["spec"]["template"]["spec"]) in [
        obj["metadata"]["name"] for obj in world.api.objects.all(SECRET)
    ]


async def test_run_waits_for_a_cluster_that_does_not_exist_yet(world: World) -> None:
    key = world.use()
    await world.work()
    assert (world.status(key)["phase"], world.status(key)["reason"]) == ("Starting", c.CLUSTER_NOT_FOUND)

    world.create()
    await world.work(16)
    assert world.status(key)["phase"] == "Running"


async def test_edited_priority_and_share_of_a_live_run_reach_the_keeper(world: World) -> None:
    world.create()
    key = world.use(ref={"share": {"threads": 7}, "priority": 5})
    await world.work()
    before = users(world)
    world.edit({"cluster": {"ref": {"share": {"threads": 2}, "priority": 6}}}, key)
    await world.work()

    assert (before, users(world)) == ((keepers.LiveRun.of(key.uid, 5, 7),), (keepers.LiveRun.of(key.uid, 6, 2),))
    assert world.status(key)["phase"] == "Running"


class TestOtherNamespaces:
    async def test_run_without_the_grant_waits_as_if_there_were_no_cluster(self, world: World) -> None:
        world.create()
        key = world.use(namespace="tenant", ref={"namespace": KEY.namespace}, flow=None)
        missing = world.use("missing", "tenant", ref={"namespace": KEY.namespace, "name": "nothing"}, flow=None)
        await world.work()
        status, other = world.status(key), world.status(missing)

        assert status["reason"] == other["reason"] == c.CLUSTER_NOT_FOUND
        assert status["message"].replace("analytics", "nothing") == other["message"]
        assert (world.status()["runs"], instructed(world)) == (0, [])

    async def test_run_without_the_grant_does_not_wake_the_cluster(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flowcluster_operator.policies.shared.idle_shutdown.CONFIRMED_SECONDS", 0.0)
        world.create(spec(idleShutdownSeconds=600))
        await world.work()
        world.report(idle=700)
        await world.work()
        world.use(namespace="tenant", ref={"namespace": KEY.namespace}, flow=None)
        await world.work()

        assert world.status()["phase"] == "Sleeping"

    async def test_client_with_the_grant_uses_the_cluster_until_that_is_withdrawn(self, world: World) -> None:
        world.create(spec(allowedNamespaces=["tenant"]))
        key = world.use(namespace="tenant", ref={"namespace": KEY.namespace}, flow=None)
        await world.work(16)
        assert (world.status(key)["phase"], instructed(world)) == ("Running", [key.uid])

        world.edit({"allowedNamespaces": []})
        await world.work()
        assert condition(world.status(key), c.FINISHED)["reason"] == c.CLUSTER_LOST
        assert instructed(world) == []


async def test_network_policies_admit_the_run_and_the_cluster_to_each_other(world: World) -> None:
    world.create()
    key = world.use()
    await world.work()
    policies = {obj["metadata"]["name"]: obj["spec"]["ingress"] for obj in world.api.objects.all(NETWORK_POLICY)}

    assert set(policies) == {NAME, names.child_name(key.name, key.uid)}
    assert KEY.uid in str(policies[names.child_name(key.name, key.uid)])
    assert names.LABEL_USES in str(policies[NAME])
