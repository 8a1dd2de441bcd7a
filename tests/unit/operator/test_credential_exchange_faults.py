"""Runs get the credentials of a SharedCluster although the operator restarts or its writes fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.credential_exchange import (
    Keeper,
    credentials,
    given,
    granting,
    guest,
    requests,
    secrets_of,
    waiting,
)
from tests.support.fake_api import Answer, Drop
from tests.support.shared_world import World

WRITES = "POST PUT PATCH DELETE"
#: Writes of a run from its first pass to `Running`, with those of the cluster: statuses, Events, children, requests.
WRITES_OF_RUN = 16


@pytest.fixture
def keeper(world: World, tmp_path: Path) -> Keeper:
    return Keeper(world, tmp_path)


async def test_operator_that_begins_again_makes_another_request(world: World, keeper: Keeper) -> None:
    key = await waiting(world)
    before = requests(world)
    keeper.act()  # to the key of the operator that ends now
    await world.end()
    await world.begin_again()
    await world.work()
    assert secrets_of(world, key) == []
    assert before != requests(world) != ()

    await keeper.serve()
    assert (world.status(key)["phase"], given(world, key)) == ("Running", credentials(world))


async def test_operator_that_begins_again_needs_no_request_for_a_run_that_runs(world: World, keeper: Keeper) -> None:
    world.create(granting())
    key = guest(world)
    await keeper.serve()
    await world.end()
    await world.begin_again()
    await world.work()

    assert (world.status(key)["phase"], requests(world)) == ("Running", ())


@pytest.fixture
def without_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass that failed is made again soon: a refused child, too."""
    monkeypatch.setattr("flowcluster_operator.reconcile.loop.RETRY_SECONDS", 1e-6)
    monkeypatch.setattr("flowcluster_operator.reconcile.decide_live.RETRY_SECONDS", 1.0)


async def test_number_of_writes_is_that_of_an_undisturbed_run(world: World, keeper: Keeper) -> None:
    world.create(granting())
    await world.work()
    world.api.requests.clear()
    guest(world)
    await keeper.serve()
    made = [request for request in world.api.requests if request.method in WRITES]

    assert len(made) == WRITES_OF_RUN, [str(item) for item in made]


@pytest.mark.usefixtures("without_backoff")
@pytest.mark.parametrize("number", range(WRITES_OF_RUN))
async def test_run_runs_when_the_operator_ends_at_a_write(world: World, keeper: Keeper, number: int) -> None:
    world.create(granting())
    await world.work()
    world.api.inject(Drop(after_write=True), WRITES, skip=number, times=None)
    key = guest(world)
    for _ in range(2):
        await world.work(1)
        keeper.act()
    await world.end()
    world.api.heal()
    await world.begin_again()
    await keeper.serve(12)

    assert (world.status(key)["phase"], given(world, key)) == ("Running", credentials(world))
    assert requests(world) == ()


@pytest.mark.usefixtures("without_backoff")
@pytest.mark.parametrize("fault", [Answer(500), Answer(403, "denied by a policy")], ids=["error", "403"])
@pytest.mark.parametrize("number", range(WRITES_OF_RUN))
async def test_run_runs_when_a_write_fails(world: World, keeper: Keeper, fault: Answer, number: int) -> None:
    world.create(granting())
    await world.work()
    world.api.inject(fault, WRITES, skip=number)
    key = guest(world)
    await keeper.serve(12)

    assert (world.status(key)["phase"], given(world, key)) == ("Running", credentials(world))
