"""Shared clusters and runs on the fake API server, with an operator and with upstream operators that work."""

from __future__ import annotations

import datetime as dt
from typing import Any

from flowcluster_api import lease as leases
from flowcluster_api import names
from flowcluster_api.lease import Demand
from flowcluster_api.progress import Progress
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import FLOW_RUN, LEASE, OWNERS, POD, SHARED_CLUSTER, Object
from flowcluster_operator.settings import Settings
from tests.support.fake_api import FakeApi
from tests.support.passes import Passes
from tests.support.shared import KEY, NAME, spec
from tests.support.upstream import Upstream

#: Timers that are not longer fire between two rounds of work.
_SOON_SECONDS = 2.0
_SETTINGS = Settings(concurrency=4)


class World:
    """The operator at work on a Kubernetes whose controllers work, too."""

    def __init__(self, api: FakeApi, kube: Kube) -> None:
        self.api, self._kube = api, kube
        self.passes = Passes(kube, _SETTINGS)
        self.upstream = Upstream(api.objects)
        self._running = self.passes.running()

    async def begin(self) -> None:
        """Begin with the first operator."""
        await self._running.__aenter__()

    async def end(self) -> None:
        """End the operator that runs."""
        await self._running.__aexit__(None, None, None)

    async def begin_again(self) -> None:
        """Begin with another operator, which knows what the API server holds."""
        self.passes = Passes(self._kube, _SETTINGS)
        self._running = self.passes.running()
        await self.begin()

    async def work(self, rounds: int = 8) -> None:
        """Let controllers and operator work until nothing changes."""
        for _ in range(rounds):
            self.upstream.act()
            before = self.api.objects.version
            self.passes.watch(self.api.objects)
            await self.passes.settle()
            for key, seconds in list(self.passes.queue.later.items()):
                if seconds <= _SOON_SECONDS:
                    await self.passes.make(key)
            self.upstream.act()
            if self.api.objects.version == before:
                return

    def create(self, body: Object | None = None) -> None:
        """Apply a SharedCluster."""
        meta = {"name": KEY.name, "uid": KEY.uid}
        self.api.objects.create(SHARED_CLUSTER, KEY.namespace, {"metadata": meta, "spec": body or spec()})

    def use(self, name: str = "report", namespace: str = KEY.namespace, **more: Any) -> RunId:
        """Apply a FlowRun that names the cluster."""
        ref = {"name": KEY.name, **more.pop("ref", {})}
        body = {"flow": {"entrypoint": "flow.py:main"}, "cluster": {"ref": ref}, **more}
        body = {field: value for field, value in body.items() if value is not None}
        meta = {"name": name, "uid": f"uid-{name}"}
        self.api.objects.create(FLOW_RUN, namespace, {"metadata": meta, "spec": body})
        return RunId(namespace, name, meta["uid"])

    def edit(self, patch: Object, key: RunId = KEY) -> None:
        """Edit the spec of the SharedCluster, or of a FlowRun."""
        self.api.objects.merge(OWNERS[key.kind], key.namespace, key.name, {"spec": patch})

    def status(self, key: RunId = KEY) -> Object:
        """The status of the SharedCluster, or of a FlowRun."""
        found: Object = self.api.objects.get(OWNERS[key.kind], key.namespace, key.name).get("status") or {}
        return found

    def kinds(self) -> set[str]:
        """The kinds of all objects besides owners and Events."""
        return {obj["kind"] for obj in self.api.objects.all()} - {"Event", "FlowRun", "SharedCluster"}

    def report(self, demand: Demand | None = None, idle: int | None = None) -> None:
        """Renew the Lease as the keeper does."""
        now = dt.datetime.now(dt.UTC).isoformat()
        patch = leases.renewal("keeper-1", 60, now, now, demand, Progress(None, idle))
        self.api.objects.merge(LEASE, KEY.namespace, NAME, patch)

    def pods(self, component: str) -> list[Object]:
        """The pods of one component of the cluster."""
        selector = f"{names.LABEL_COMPONENT}={component},{names.LABEL_RUN_UID}={KEY.uid}"
        return self.api.objects.select(POD, KEY.namespace, selector)
