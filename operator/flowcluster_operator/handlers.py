"""The operator's process. kopf starts and ends it; watch events go into the store, and wake the runs that they change.

kopf itself handles no objects: `informer.watches` watches FlowRuns, SharedClusters and their children. So kopf adds no
finalizer and no annotation.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import kopf

from flowcluster_operator.informer.resync import Resync
from flowcluster_operator.informer.store import Store
from flowcluster_operator.informer.watches import Watches
from flowcluster_operator.kube import Kube
from flowcluster_operator.kube_config import credentials
from flowcluster_operator.operator_class import is_of_class
from flowcluster_operator.reconcile.loop import Reconciler
from flowcluster_operator.resources import FLOW_RUN, OWNERS, Resource
from flowcluster_operator.settings import Settings

_logger = logging.getLogger(__name__)


class Operator:
    """The objects that live as long as the operator's process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store()
        self._running: asyncio.Task[None] | None = None
        self.reconciler: Reconciler | None = None
        self.resync: Resync | None = None

    async def start(self) -> None:
        """List all objects once, then begin to reconcile: a decision needs all objects of its run."""
        ready = asyncio.Event()
        self._running = asyncio.create_task(self._live(ready))
        waiter = asyncio.create_task(ready.wait())
        await asyncio.wait({waiter, self._running}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.is_set():
            waiter.cancel()
            await self._running  # raises what stopped it
        self._running.add_done_callback(_end_process)

    async def stop(self) -> None:
        """Cancel the passes in flight at their next await. The next process repeats an interrupted pass."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _live(self, ready: asyncio.Event) -> None:
        async with self._connected() as (kube, reconciler, resync):
            await resync.once()
            ready.set()
            watches = Watches(self.settings, kube, resync, reconciler.queue, self.seen)
            async with asyncio.TaskGroup() as group:
                group.create_task(watches.run())
                group.create_task(reconciler.run())
                group.create_task(resync.run())

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[Kube, Reconciler, Resync]]:
        async with Kube() as kube:
            self.reconciler = Reconciler(self.settings, self.store, kube)
            self.resync = Resync(self.settings, self.store, kube, self.reconciler.queue)
            yield kube, self.reconciler, self.resync

    def seen(self, resource: Resource, event_type: str, body: dict[str, Any]) -> None:
        """Store one watch event, and wake the runs that it changes."""
        if self.reconciler is None or (resource.kind in OWNERS and not is_of_class(body, self.settings)):
            return
        meta = body["metadata"]
        if event_type == "DELETED":
            # A watch by labels also reports an object as DELETED when it has lost its label.
            is_gone = "deletionTimestamp" in meta and not meta.get("finalizers")
            runs = self.store.remove(resource, meta["uid"], int(meta.get("resourceVersion", 0)), is_gone=is_gone)
        else:
            runs = self.store.put_reported(resource, body)
        for key in runs:
            self.reconciler.queue.add(key)
            if resource is FLOW_RUN:
                for child in self.store.child_runs(key):
                    self.reconciler.queue.add(child)


def _end_process(reconciling: asyncio.Task[None]) -> None:
    """End the process as on SIGTERM when the reconcile loop has ended: kopf would go on, and the probe would pass."""
    if not reconciling.cancelled():
        _logger.critical("the reconcile loop has ended: the operator exits", exc_info=reconciling.exception())
        os.kill(os.getpid(), signal.SIGTERM)


def register(registry: kopf.OperatorRegistry, operator: Operator) -> None:
    """Put the operator's handlers into kopf's registry."""
    kopf.on.login(registry=registry)(_login)

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        _configure(settings)
        await operator.start()

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        await operator.stop()

    @kopf.on.probe(id="seconds-since-resync", registry=registry)
    async def probe(**_: Any) -> float:
        resync = operator.resync
        return -1 if resync is None or resync.last is None else (dt.datetime.now(dt.UTC) - resync.last).total_seconds()


def _login(**_: Any) -> kopf.ConnectionInfo:
    return credentials()


def _configure(settings: kopf.OperatorSettings) -> None:
    settings.posting.enabled = False  # kopf's own Events are about handlers, not about runs
    settings.peering.standalone = True
    settings.scanning.disabled = True  # kopf watches no kind for us: it needs neither CRDs nor namespaces
    settings.watching.server_timeout = 300
    settings.watching.connect_timeout = 10
