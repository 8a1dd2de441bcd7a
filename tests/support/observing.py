"""A run to observe: the operator's store and the objects on the API server."""

from __future__ import annotations

import asyncio
from typing import Any

from flowcluster_api import lease as leases
from flowcluster_api import names
from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model.failures import Rejection
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.observed import Observed, Remains
from flowcluster_operator.reconcile.observe import observe
from flowcluster_operator.resources import BY_KIND, Object
from tests.support.fake_api import FakeApi
from tests.support.makers import KEY, NOW, OF_CLUSTER, OF_JOB, pod, run, spec

NAME = names.child_name(KEY.name, KEY.uid)
PARENT = RunId(KEY.namespace, "parent", "uid-parent")
FINISHED: Object = {"conditions": [{"type": "Finished", "status": "True", "reason": "Succeeded", "message": ""}]}


class Rig:
    """The operator's store, the API server, and an observation of both."""

    def __init__(self, api: FakeApi, kube: Kube) -> None:
        self.api, self._kube = api, kube
        self.store, self.memory = Store(), Memory()
        api.objects.collects_garbage = False  # children are here without their run

    def known(self, *objects: Object) -> None:
        """Put objects into the store only."""
        for obj in objects:
            self.store.put(BY_KIND[obj["kind"]], obj)

    def there(self, *objects: Object) -> None:
        """Put objects onto the API server only."""
        for obj in objects:
            self.api.objects.create(BY_KIND[obj["kind"]], obj["metadata"]["namespace"], obj)

    def silent(self, obj: Object, seconds: float) -> None:
        """Record that the operator saw the Lease's last renewal that many seconds ago."""
        self.memory.heartbeats.silent_for(KEY, leases.read(obj).renewed, clock() - seconds)

    async def observe(self, *rejections: Rejection) -> Observed:
        """Observe the run at `NOW`."""
        found = await self.remains(*rejections)
        assert isinstance(found, Observed)
        return found

    async def remains(self, *rejections: Rejection) -> Observed | Remains:
        """Observe the run at `NOW`, or what is left of it."""
        return await observe(KEY, self.store, self._kube, self.memory, rejections, NOW)


def clock() -> float:
    """Return the time of the event loop, by which silences are measured."""
    return asyncio.get_running_loop().time()


def labelled_pod(component: str) -> Object:
    """Return a pod of the run, as the API server returns it."""
    made = pod(component)
    owner = OF_JOB if component == names.COMPONENT_DRIVER else OF_CLUSTER
    metadata = {**made["metadata"], "namespace": KEY.namespace, "ownerReferences": [owner]}
    return {**made, "kind": "Pod", "metadata": metadata}


def child_run(**metadata: Any) -> Object:
    """Return a run that the run `PARENT` owns, without a flow of its own."""
    owner = {**names.reference(PARENT.name, PARENT.uid), "controller": True}
    return run(spec(flow=False), **{"ownerReferences": [owner], **metadata})


def parent_run(status: Object | None = None) -> Object:
    """Return the run that owns it."""
    made = run(spec(), status)
    return {**made, "metadata": {**made["metadata"], "name": PARENT.name, "uid": PARENT.uid}}
