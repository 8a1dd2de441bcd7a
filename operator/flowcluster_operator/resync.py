"""List everything now and then, and correct the store: no watch is trusted for ever."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging

from flowcluster_operator.classes import children_selector, is_of_class
from flowcluster_operator.errors import ApiError, ApiUnavailable, NotFound
from flowcluster_operator.kube import Kube
from flowcluster_operator.model import Key
from flowcluster_operator.projection import is_metadata_only
from flowcluster_operator.reconcile.queue import Queue
from flowcluster_operator.resources import OWNERS, WATCHED, Resource
from flowcluster_operator.settings import Settings
from flowcluster_operator.store import Store

_logger = logging.getLogger(__name__)
_RETRY_SECONDS = 2.0
#: HTTP status: the resource version is too old.
_EXPIRED = 410


class Resync:
    """Lists all watched kinds: once before the first pass, then every `settings.resync_seconds`."""

    def __init__(self, settings: Settings, store: Store, kube: Kube, queue: Queue[Key]) -> None:
        self._settings, self._store, self._kube, self._queue = settings, store, kube, queue
        #: When the last listing ended.
        self.last: dt.datetime | None = None
        #: The resource version of the last listing of each kind that is installed.
        self.versions: dict[Resource, str] = {}

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
            changed |= await self.list(resource)
        self.last = dt.datetime.now(dt.UTC)
        for key in self._store.keys() if first else changed:
            self._queue.add(key)

    async def list(self, resource: Resource) -> set[Key]:
        """List one kind until it succeeds; return the runs in which something differed."""
        while True:
            try:
                return await self._list(resource)
            except NotFound:
                self.versions.pop(resource, None)
                return set()  # the kind is not installed
            except (ApiError, ApiUnavailable) as error:  # also a refusal: a role may be on its way
                if isinstance(error, ApiError) and error.status == _EXPIRED:
                    continue  # the listing took so long that its pages are of a version that is not kept any more
                _logger.warning("cannot list %s: %s; again in %.0f s", resource.plural, error, _RETRY_SECONDS)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _list(self, resource: Resource) -> set[Key]:
        """List one kind in pages: the event loop stands still while one is parsed.

        The API server reads the pages from etcd, or from its cache where it has that version. A listing that it serves
        from its cache in any version (`resourceVersion=0`) could be from before a DELETE and bring objects back.
        """
        version, uids, changed = "", set[str](), set[Key]()
        async for page in self._kube.pages(
            resource, self._settings.namespace or None, labels=selector(resource, self._settings),
            metadata_only=is_metadata_only(resource),
        ):  # fmt: skip
            version = version or page["metadata"]["resourceVersion"]
            items = page["items"]
            if resource.kind in OWNERS:
                items = [item for item in items if is_of_class(item, self._settings)]
            uids.update(item["metadata"]["uid"] for item in items)
            changed |= self._store.listed(resource, items)
        self.versions[resource] = version
        return changed | self._store.retain(resource, uids, int(version))


def selector(resource: Resource, settings: Settings) -> str:
    """Return the labels of the objects that matter: of owners none, of other kinds those of the operator's class."""
    return "" if resource.kind in OWNERS else children_selector(settings)
