"""The operator's passes on a fake API server, without its watches and without waiting for timers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from flowcluster_operator.informer.resync import Resync
from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.operator_class import children_selector, is_of_class
from flowcluster_operator.reconcile.loop import Reconciler
from flowcluster_operator.resources import OWNERS, WATCHED
from flowcluster_operator.settings import Settings
from flowcluster_operator.workqueue import Queue
from tests.support.fake_api import Objects
from tests.support.makers import KEY


class RecordingQueue(Queue[RunId]):
    """A queue whose timers never fire.

    Attributes:
        later: seconds after which runs become due again, by run.
        idle: set while no run is due and no pass is under way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.later: dict[RunId, float] = {}
        self.idle = asyncio.Event()

    def add(self, key: RunId) -> None:
        """See `Queue.add`."""
        self.idle.clear()
        super().add(key)

    def add_later(self, key: RunId, seconds: float) -> None:
        """See `Queue.add_later`."""
        self.cancel_timer(key)
        if seconds > 0:
            self.later[key] = seconds
        else:
            self.add(key)

    def cancel_timer(self, key: RunId) -> None:
        """See `Queue.cancel_timer`."""
        self.later.pop(key, None)

    async def take(self) -> RunId:
        """See `Queue.take`."""
        if not self._waiting and not self._active:
            self.idle.set()
        return await super().take()


class Passes:
    """The part of an operator's process that makes passes.

    Attributes:
        store: the known objects.
        memory: other facts about runs.
        queue: the runs that are due.
        resync: lists everything, instead of the watches.
    """

    def __init__(self, kube: Kube, settings: Settings) -> None:
        self._settings = settings
        self.store, self.queue = Store(), RecordingQueue()
        self._reconciler = Reconciler(settings, self.store, kube)
        self._reconciler.queue = self.queue
        self.memory = self._reconciler._memory
        self.resync = Resync(settings, self.store, kube, self.queue)
        self._running: asyncio.Task[None] | None = None

    async def make(self, *keys: RunId) -> float | None:
        """Make passes over these runs, or over `KEY`, until none is due now.

        Returns:
            Seconds after which the first of them becomes due again; None for never.
        """
        due = keys or (KEY,)
        for key in due:
            self.queue.add(key)
        await self.settle()
        return self.queue.later.get(due[0])

    def watch(self, objects: Objects) -> None:
        """Store the changes that watches would have delivered. The runs that changed become due."""
        for resource in WATCHED:
            labels = "" if resource.kind in OWNERS else children_selector(self._settings)
            found = objects.select(resource, None, labels)
            if resource.kind in OWNERS:
                found = [obj for obj in found if is_of_class(obj, self._settings)]
            uids = {obj["metadata"]["uid"] for obj in found}
            for key in self.store.listed(resource, found) | self.store.retain(resource, uids, objects.version):
                self.queue.add(key)

    async def settle(self) -> None:
        """Wait until no run is due. If the passes have ended, raise their exception."""
        assert self._running is not None
        idle = asyncio.create_task(self.queue.idle.wait())
        await asyncio.wait({idle, self._running}, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        if self._running.done():
            await self._running

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Passes]:
        """Run the passes in the background."""
        self._running = asyncio.create_task(self._reconciler.run())
        try:
            yield self
        finally:
            self._running.cancel()
            await asyncio.wait({self._running})
