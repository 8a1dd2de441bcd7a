"""SharedClusters of a namespace, as the API server has them, for tests on a real Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kubernetes import client

from flowcluster_api import names
from tests.support.waiting import wait_until
from tests.support.world import FlowRun, World

Body = dict[str, Any]
_RESOURCE = (names.GROUP, names.VERSION)


class SharedClusters:
    """The SharedClusters of a world's namespace."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._api = client.CustomObjectsApi(world.api)
        self._place = (*_RESOURCE, world.namespace, names.SHARED_PLURAL)

    def create(self, name: str, kind: str, **spec: Any) -> None:
        """Create one with one to two workers, unless `spec` says something else."""
        body = {
            "apiVersion": names.API_VERSION,
            "kind": names.SHARED_KIND,
            "metadata": {"name": name},
            "spec": {"kind": kind, "workers": {"minimum": 1, "maximum": 2}, **spec},
        }
        self._api.create_namespaced_custom_object(*self._place, body)

    def all(self) -> list[Body]:
        """Return all of them."""
        return list(self._api.list_namespaced_custom_object(*self._place)["items"])

    def get(self, name: str) -> Body | None:
        """Return one, or None."""
        return next((item for item in self.all() if item["metadata"]["name"] == name), None)

    def status(self, name: str) -> Body:
        """Return its status; empty before the operator has seen it."""
        return dict((self.get(name) or {}).get("status") or {})

    def condition(self, name: str, kind: str) -> str | None:
        """Return the status of one of its conditions."""
        found = self.status(name).get("conditions") or []
        return next((str(item["status"]) for item in found if item["type"] == kind), None)

    def patch(self, name: str, **spec: Any) -> None:
        """Merge-patch its spec."""
        self._api.patch_namespaced_custom_object(*self._place, name, {"spec": spec})

    def delete(self, name: str) -> None:
        """Delete it, as `kubectl delete` does."""
        self._api.delete_namespaced_custom_object(*self._place, name)

    def wait_phase(self, name: str, phase: str, seconds: float = 120) -> Body:
        """Wait until it is in a phase; return its status then."""

        def reached() -> Body | None:
            status = self.status(name)
            return status if status.get("phase") == phase else None

        status = self.status(name)
        what = f"SharedCluster {name} is {phase}: it was {status.get('phase')} {status.get('message')}"
        return wait_until(reached, what, seconds) or {}

    def scheduler(self, name: str) -> str:
        """Return the UID of the pod of its scheduler or head."""
        return str(self.status(name)["scheduler"]["uid"])


@contextmanager
def shared_cluster(world: World, kind: str, name: str = "team", **spec: Any) -> Iterator[SharedClusters]:
    """In the block, a SharedCluster of that name is Ready; at the end it is deleted, with all that belongs to it."""
    clusters = SharedClusters(world)
    clusters.create(name, kind, **spec)
    try:
        clusters.wait_phase(name, "Ready")
        yield clusters
    finally:
        clusters.delete(name)
    wait_until(lambda: clusters.get(name) is None, f"SharedCluster {name} is deleted", 20)
    if not clusters.all():  # the last one of the test
        world.wait_empty(60)


def by_reference(world: World, name: str, entrypoint: str, cluster: str = "team", **more: Any) -> None:
    """Create a FlowRun on a SharedCluster."""
    parameters, ref = more.pop("parameters", {}), {"name": cluster, **more.pop("ref", {})}
    body = FlowRun(name, world.flow(entrypoint, parameters=parameters, **more.pop("flow", {})), None)
    world.create(FlowRun(name, body.flow, None, {"cluster": {"ref": ref}, **more}).body())
