"""Worker groups of a shared cluster on the API server: each follows the demand that the keeper reports."""

from __future__ import annotations

import datetime as dt

import pytest

from flowcluster_api.lease import Demand
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.shared import SharedObserved
from flowcluster_operator.reconcile.observe_shared import observe_shared
from flowcluster_operator.resources import (
    DASK_CLUSTER,
    DASK_WORKER_GROUP,
    DEPLOYMENT,
)  # fmt: skip
from tests.support.shared import GROUPS, KEY, NAME, spec
from tests.support.shared_world import World

BOTH = pytest.mark.parametrize("kind", ["Dask", "Ray"])
#: What exists of a cluster of each kind, besides pods and what controllers make.
MADE = ["Deployment", "Lease", "NetworkPolicy", "Role", "RoleBinding", "Secret", "ServiceAccount"]


async def test_groups_follow_the_demand_of_the_keeper(world: World) -> None:
    world.create(spec(**GROUPS))
    await world.work()
    world.report(Demand(3, (), (("gpu", 2),)))
    await world.work()

    assert len(world.pods("worker")) == 5
    assert [(group["name"], group["target"]) for group in world.status()["workers"]] == [("default", 3), ("gpu", 2)]


async def test_demand_that_comes_while_the_cluster_is_made_gets_its_workers(world: World) -> None:
    """dask-kubernetes would lose the number that the operator writes before kopf's mark is there."""
    world.create(spec(**GROUPS))
    while NAME not in {obj["metadata"]["name"] for obj in world.api.objects.all(DASK_CLUSTER)}:
        world.passes.watch(world.api.objects)
        await world.passes.settle()
    world.report(Demand(3, (), (("gpu", 2),)))
    await world.work()

    assert len(world.pods("worker")) == 3 + 2


async def test_demand_beyond_the_bounds_is_cut(world: World) -> None:
    world.create(spec(**GROUPS))
    await world.work()
    world.report(Demand(300, (), (("gpu", 200), ("another", 7))))
    await world.work()

    assert len(world.pods("worker")) == 3 + 2


@pytest.mark.parametrize("group", ["", "gpu"])
async def test_worker_that_the_keeper_has_retired_is_removed(world: World, group: str) -> None:
    """Exactly that one, and dask-kubernetes is not requested to remove any."""
    world.create(spec(**GROUPS))
    await world.work()
    world.report(Demand(3, (), (("gpu", 2),)))
    await world.work()
    of_group = f"{NAME}-{group or 'default'}-"
    workers = [obj["metadata"]["name"] for obj in world.api.objects.all(DEPLOYMENT) if "-worker-" in str(obj)]
    victim = next(name for name in workers if name.startswith(of_group))
    fewer = Demand(2, (victim,), (("gpu", 2),)) if not group else Demand(3, (victim,), (("gpu", 1),))
    world.report(fewer)
    await world.work()
    left = [obj["metadata"]["name"] for obj in world.api.objects.all(DEPLOYMENT)]

    assert victim not in left
    assert len(world.pods("worker")) == 4


@pytest.mark.parametrize("group", ["", "gpu"])
async def test_request_of_a_group_is_served_by_workers_of_that_group_only(world: World, kube: Kube, group: str) -> None:
    """A request that counts as served is repeated after 10 s: a busy dask-kubernetes makes too many workers then."""
    world.create(spec(**GROUPS))
    await world.work()
    world.report(Demand(3, (), (("gpu", 2),)))
    world.passes.watch(world.api.objects)
    await world.passes.settle()
    workers = [obj for obj in world.api.objects.all(DEPLOYMENT) if "-worker-" in obj["metadata"]["name"]]
    (like,) = [obj for obj in workers if obj["metadata"]["name"].startswith(f"{NAME}-{group or 'default'}-")]
    meta = {field: like["metadata"][field] for field in ("labels", "ownerReferences")}
    for number in range(2 if not group else 1):
        name = f"{like['metadata']['name']}-{number}"
        world.api.objects.create(DEPLOYMENT, KEY.namespace, {**like, "metadata": {**meta, "name": name}})
        world.passes.watch(world.api.objects)
        await world.passes.settle()
    store, memory = world.passes.store, world.passes.memory
    seen = await observe_shared(KEY, store, kube, memory, (), dt.datetime.now(dt.UTC))
    assert isinstance(seen, SharedObserved)
    (gpu,) = seen.groups

    assert (seen.of_group(None).request.is_served, gpu.request.is_served) == (not group, bool(group))


async def test_worker_group_of_the_cluster_is_adopted_by_dask_kubernetes(world: World) -> None:
    world.create(spec(**GROUPS))
    await world.work()
    groups = {obj["metadata"]["name"]: obj for obj in world.api.objects.all(DASK_WORKER_GROUP)}
    (owner,) = groups[f"{NAME}-gpu"]["metadata"]["ownerReferences"]

    assert owner["kind"] == "DaskCluster"
    assert world.passes.store.orphans(KEY) == []
