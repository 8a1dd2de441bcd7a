"""Whichever write fails, in whichever way, a shared cluster starts, stops and ends completely."""

from __future__ import annotations

import pytest

from flowcluster_operator.resources import DASK_CLUSTER, DEPLOYMENT, LEASE, SECRET, SHARED_CLUSTER, Resource
from tests.support.fake_api import Answer, Drop
from tests.support.shared import GROUPS, KEY, spec
from tests.support.shared_world import World

WRITES = "POST PUT PATCH DELETE"
#: Writes of an undisturbed start: statuses, Events, children and instructions; and of a suspension.
WRITES_OF_START, WRITES_OF_SUSPENSION = 15, 3
FAULTS = [
    pytest.param(Answer(500), id="error"),
    pytest.param(Drop(after_write=True), id="lost answer"),
    pytest.param(Answer(403, "denied by a policy"), id="403"),
]


def is_complete(world: World) -> bool:
    """Whether the cluster is Ready, with one Lease, and all pods have the same credentials, which exist."""
    secrets = {obj["metadata"]["name"] for obj in world.api.objects.all(SECRET)}
    used = {
        volume["secret"]["secretName"]
        for obj in world.api.objects.all()
        if obj["kind"] == "Pod"
        for volume in obj["spec"].get("volumes", [])
        if "secret" in volume
    }
    has_credentials = len(used) == 1 and used <= secrets
    return world.status().get("phase") == "Ready" and len(world.api.objects.all(LEASE)) == 1 and has_credentials


@pytest.fixture(autouse=True)
def without_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass that failed is made again soon: a refused child, too."""
    monkeypatch.setattr("flowcluster_operator.reconcile.loop.RETRY_SECONDS", 1e-6)
    monkeypatch.setattr("flowcluster_operator.reconcile.decide_shared_live.RETRY_SECONDS", 1.0)


async def test_numbers_of_writes_are_those_of_undisturbed_lives(world: World) -> None:
    world.create(spec(**GROUPS))
    await world.work()
    made = [request for request in world.api.requests if request.method in WRITES]
    world.api.requests.clear()
    world.edit({"suspend": True})
    await world.work()
    stopped = [request for request in world.api.requests if request.method in WRITES]

    assert (len(made), len(stopped)) == (WRITES_OF_START, WRITES_OF_SUSPENSION), [str(item) for item in made]


@pytest.mark.parametrize("number", range(WRITES_OF_START))
@pytest.mark.parametrize("fault", FAULTS)
async def test_cluster_becomes_ready_when_a_write_fails(world: World, fault: Answer | Drop, number: int) -> None:
    world.api.inject(fault, WRITES, skip=number)
    world.create(spec(**GROUPS))
    await world.work(20)

    assert is_complete(world), world.status()


@pytest.mark.parametrize("number", range(WRITES_OF_START))
async def test_cluster_becomes_ready_when_the_operator_ends_at_a_write(world: World, number: int) -> None:
    world.api.inject(Drop(after_write=True), WRITES, skip=number, times=None)
    world.create(spec(**GROUPS))
    await world.work(1)
    await world.end()
    world.api.heal()
    await world.begin_again()
    await world.work(20)

    assert is_complete(world), world.status()


@pytest.mark.parametrize("resource", [DASK_CLUSTER, DEPLOYMENT], ids=lambda resource: resource.kind)
async def test_all_pods_have_the_same_credentials_when_an_operator_ends_that_could_not_create_all(
    world: World, resource: Resource
) -> None:
    """An operator that starts again knows no Secret by itself."""
    world.api.inject(Answer(500), "POST", resource, times=None)
    world.create(spec(**GROUPS))
    await world.work(1)
    await world.end()
    world.api.heal()
    await world.begin_again()
    await world.work(20)

    assert is_complete(world), world.status()


@pytest.mark.parametrize("number", range(WRITES_OF_SUSPENSION))
@pytest.mark.parametrize("fault", FAULTS)
async def test_cluster_is_suspended_and_resumes_when_a_write_fails(
    world: World, fault: Answer | Drop, number: int
) -> None:
    world.create(spec(**GROUPS))
    await world.work()
    world.api.inject(fault, WRITES, skip=number)
    world.edit({"suspend": True})
    await world.work(20)
    assert (world.status()["phase"], world.kinds()) == ("Suspended", set())

    world.edit({"suspend": False})
    await world.work(20)
    assert is_complete(world), world.status()


async def test_cluster_that_is_deleted_while_the_operator_is_away_leaves_nothing(world: World) -> None:
    world.create(spec(**GROUPS))
    await world.work()
    await world.end()
    world.api.objects.delete(SHARED_CLUSTER, KEY.namespace, KEY.name)
    world.api.objects.collect_garbage()
    await world.begin_again()
    await world.work()

    assert world.kinds() == set()
