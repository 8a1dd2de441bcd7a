"""Runs whose shared cluster is lost, and runs that come, go and lose it while the operator is away."""

from __future__ import annotations

import pytest

from flowcluster_api import conditions as c
from flowcluster_operator.desired.credentials import credentials_in
from flowcluster_operator.resources import (
    BY_KIND,
    SECRET,
)
from tests.support.plans import condition
from tests.support.shared import spec
from tests.support.shared_users import end, instructed, job, lose
from tests.support.shared_world import World

BOTH = pytest.mark.parametrize("kind", ["Dask", "Ray"])


@BOTH
@pytest.mark.parametrize("how", ["suspended", "deleted", "pod", "resource", "upgraded"])
async def test_run_ends_as_cluster_lost_when_the_cluster_is_gone(world: World, kind: str, how: str) -> None:
    world.create(spec(kind, upgrade="Now"))
    key = world.use()
    await world.work(16)
    assert world.status(key)["phase"] == "Running"
    lose(world, kind, how)
    await world.work(16)
    status = world.status(key)

    assert (status["phase"], condition(status, c.FINISHED)["reason"]) == ("Failed", c.CLUSTER_LOST)
    assert "SharedCluster analytics" in status["message"]


@pytest.mark.parametrize("how", ["pod", "resource", "upgraded"])
async def test_run_begins_again_on_the_next_cluster_within_its_limit(world: World, how: str) -> None:
    flow = {"entrypoint": "flow.py:main", "backoffLimit": 1}
    world.create(spec(upgrade="Now"))
    key = world.use(flow=flow)
    await world.work(16)
    before = job(world, key)["metadata"]["uid"]
    lose(world, "Dask", how)
    await world.work(30)
    status = world.status(key)

    assert (status["phase"], status["flow"]["lostClusters"]) == ("Running", 1)
    assert job(world, key)["metadata"]["uid"] != before
    assert status["cluster"]["scheduler"] == world.status()["scheduler"]
    assert credentials_in(job(world, key)["spec"]["template"]["spec"]) in [
        obj["metadata"]["name"] for obj in world.api.objects.all(SECRET)
    ]


async def test_ended_run_keeps_no_record_on_the_cluster_when_another_run_goes_on(world: World) -> None:
    world.create()
    key, other = world.use(), world.use("other")
    await world.work(16)
    end(world, key, code=1)
    await world.work()

    assert (world.status(key)["phase"], world.status(other)["phase"]) == ("Failed", "Running")


@BOTH
async def test_runs_come_and_go_while_the_operator_is_away(world: World, kind: str) -> None:
    world.create(spec(kind))
    ended, goes_on = world.use("ended"), world.use("goes-on")
    await world.work(16)
    before = {obj["metadata"]["uid"] for obj in world.api.objects.all(BY_KIND[f"{kind}Cluster"])}
    await world.end()
    end(world, ended)
    new = world.use("new")
    await world.begin_again()
    await world.work(16)

    assert [world.status(key)["phase"] for key in (ended, goes_on, new)] == ["Succeeded", "Running", "Running"]
    assert (world.status()["restarts"], sorted(instructed(world))) == (0, sorted([goes_on.uid, new.uid]))
    assert {obj["metadata"]["uid"] for obj in world.api.objects.all(BY_KIND[f"{kind}Cluster"])} == before


@BOTH
async def test_loss_of_the_scheduler_while_the_operator_is_away_ends_the_runs(world: World, kind: str) -> None:
    world.create(spec(kind))
    key = world.use()
    await world.work(16)
    await world.end()
    lose(world, kind, "pod")
    world.upstream.act()
    await world.begin_again()
    await world.work(30)

    assert condition(world.status(key), c.FINISHED)["reason"] == c.CLUSTER_LOST
    assert (world.status()["phase"], world.status()["restarts"]) == ("Ready", 1)
