"""Children of an earlier Lease that the store still has, beside the present ones on the API server.

The watches of two kinds do not report at the same time, and an operator that starts can get old lists.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from flowcluster_api import names
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.shared import SharedObserved
from flowcluster_operator.policies.scheduler_or_head_lost import cluster_lost, lease_lost
from flowcluster_operator.policies.shared import loss
from flowcluster_operator.reconcile.observe import observe
from flowcluster_operator.reconcile.observe_shared import observe_shared
from flowcluster_operator.resources import BY_KIND, Object
from tests.support import makers, shared
from tests.support.fake_api import FakeApi
from tests.support.makers import NOW, ago

#: What the store has of a child of the earlier Lease, or of that Lease.
ALIVE, DELETED, ABSENT = "alive", "being deleted", "absent"
STATES = list(itertools.product([ALIVE, DELETED, ABSENT], repeat=2))


def former(obj: Object, state: str) -> list[Object]:
    """Return the object that had the name of a present one, as the store has it; none where it is absent."""
    meta = {**obj["metadata"], "uid": f"former-{obj['metadata']['uid']}", "resourceVersion": "1"}
    if "ownerReferences" in meta and obj["kind"] != "Lease":
        meta["ownerReferences"] = [{**owner, "uid": f"former-{owner['uid']}"} for owner in meta["ownerReferences"]]
    if state == DELETED:
        meta["deletionTimestamp"] = ago(5)
    return [] if state == ABSENT else [{**obj, "metadata": meta}]


def present(obj: Object) -> Object:
    """Return an object that is newer than all former ones."""
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": "100"}}


class World:
    """The store of an operator, and an API server that has newer objects."""

    def __init__(self, api: FakeApi) -> None:
        api.objects.collects_garbage = False
        self.store, self._api = Store(), api

    def fill(self, owner: Object, pairs: list[tuple[Object, str]]) -> None:
        """Put the owner into the store, the objects onto the API server, and their former states into the store."""
        self.store.put(BY_KIND[owner["kind"]], owner)
        for obj, state in pairs:
            self._api.objects.create(BY_KIND[obj["kind"]], obj["metadata"]["namespace"], obj)
            for known in former(obj, state):
                self.store.put(BY_KIND[obj["kind"]], known)


@pytest.fixture
def world(api: FakeApi) -> World:
    return World(api)


def is_there(obj: Object | None) -> bool:
    return obj is not None and "deletionTimestamp" not in obj["metadata"]


@pytest.mark.parametrize(("lease", "child"), STATES)
@pytest.mark.parametrize("kind", ["DaskCluster", "Job"])
async def test_run_has_lost_no_child_that_exists(world: World, kube: Kube, kind: str, lease: str, child: str) -> None:
    made = makers.cluster() if kind == "DaskCluster" else makers.job()
    name = made["metadata"]["name"]
    named: Any = {"cluster": {"name": name, "kind": "Dask"}} if kind == "DaskCluster" else {"flow": {"job": name}}
    status = {"phase": "Running", "startTime": ago(10), **named}
    world.fill(makers.run(status=status), [(present(makers.lease()), lease), (present(made), child)])

    found = await observe(makers.KEY, world.store, kube, Memory(), (), NOW)

    assert isinstance(found, Observed)
    assert is_there(found.lease)
    assert is_there(found.cluster if kind == "DaskCluster" else found.job)
    assert lease_lost(found, status) is None
    assert cluster_lost(found, status) is None


@pytest.mark.parametrize(("lease", "child"), STATES)
@pytest.mark.parametrize("has_name", [True, False])
async def test_shared_cluster_is_not_lost_that_exists(
    world: World, kube: Kube, has_name: bool, lease: str, child: str
) -> None:
    """An operator that creates a cluster again has not written its name yet, and ends."""
    labels = names.child_labels(shared.KEY.name, shared.KEY.uid, names.COMPONENT_CLUSTER, shared.KEY.kind)
    metadata = {**makers.cluster()["metadata"], "name": shared.NAME, "namespace": shared.KEY.namespace}
    cluster = present(shared.of_lease(makers.cluster() | {"metadata": metadata | {"labels": labels}}))
    named = {"name": shared.NAME} if has_name else {}
    status = {"phase": "Starting", "startTime": ago(10), "kind": "Dask", **named}
    owner = shared.shared(status=status)
    world.fill(owner, [(present(shared.lease()), lease), (cluster, child)])

    found = await observe_shared(shared.KEY, world.store, kube, Memory(), (), NOW)

    assert isinstance(found, SharedObserved)
    assert is_there(found.base.lease) or not has_name
    assert loss.lost(found, status, BACKENDS["Dask"], NOW) is None
