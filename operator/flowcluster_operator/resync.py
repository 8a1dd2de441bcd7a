"""List everything now and then, and correct the store: no watch is trusted for ever."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging

from flowcluster_operator.classes import children_selector, is_of_class
from flowcluster_operator.errors import ApiError, ApiUnavailable, NotFound
from flowcluster_operator.kube import Kube
from flowcluster_operator.model import Key
from flowcluster_operator.reconcile.queue import Queue
from flowcluster_operator.resources import FLOW_RUN, WATCHED, Resource
from flowcluster_operator.settings import Settings
from flowcluster_operator.store import Store

_logger = logging.getLogger(__name__)
_RETRY_SECONDS = 2.0


class Resync:
    """Lists all watched kinds: once before the first pass, then every `settings.resync_seconds`."""

    def __init__(self, settings: Settings, store: Store, kube: Kube, queue: Queue[Key]) -> None:
        self._settings, self._store, self._kube, self._queue = settings, store, kube, queue
        #: When the last listing ended.
        self.last: dt.datetime | None = None

    async def run(self) -> None:
        """Resync until cancelled."""
        while True:
            await asyncio.sleep(self._settings.resync_seconds)
            await self.once()

    async def once(self) -> None:
        """List until it succeeds; runs in which something differed, and at the start all, become due."""
        first = self.last is None
        changed: set[Key] = set()
        for resource in WATCHED:
            changed |= await self._list(resource)
        self.last = dt.datetime.now(dt.UTC)
        for key in self._store.keys() if first else changed:
            self._queue.add(key)

    async def _list(self, resource: Resource) -> set[Key]:
        labels = "" if resource is FLOW_RUN else children_selector(self._settings)
        while True:
            try:
                found = await self._kube.list(resource, self._settings.namespace or None, labels=labels)
            except NotFound:
                return set()  # the kind is not installed
            except (ApiError, ApiUnavailable) as error:  # also a refusal: a role may be on its way
                _logger.warning("cannot list %s: %s; again in %.0f s", resource.plural, error, _RETRY_SECONDS)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            items = found["items"]
            if resource is FLOW_RUN:
                items = [item for item in items if is_of_class(item, self._settings)]
            for item in items:
                item.setdefault("apiVersion", resource.api_version)
            return self._store.replace(resource, items, int(found["metadata"]["resourceVersion"]))
