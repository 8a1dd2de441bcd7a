"""List all watched kinds periodically, and correct the store: watches can miss changes."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging

from flowcluster_operator.errors import ApiError, ApiUnavailable, NotFound
from flowcluster_operator.informer.projection import is_metadata_only
from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.operator_class import children_selector, is_of_class
from flowcluster_operator.resources import OWNERS, WATCHED, Resource
from flowcluster_operator.settings import Settings
from flowcluster_operator.workqueue import Queue

_logger = logging.getLogger(__name__)
_RETRY_SECONDS = 2.0
#: HTTP status: the resource version is too old.
_EXPIRED = 410


class Resync:
    """Lists all watched kinds: once before the first pass, then every `settings.resync_seconds`."""

    def __init__(self, settings: Settings, store: Store, kube: Kube, queue: Queue[RunId]) -> None:
        self._settings, self._store, self._kube, self._queue = settings, store, kube, queue
        #: When the last list of all kinds ended.
        self.last: dt.datetime | None = None
        #: The resource version of the last list of each kind that is installed.
        self.versions: dict[Resource, str] = {}

    async def run(self) -> None:
        """Resync until cancelled."""
        while True:
            await asyncio.sleep(self._settings.resync_seconds)
            await self.once()

    async def once(self) -> None:
        """List all kinds, each until it succeeds. Runs in which an object differed are due then; at first, all runs."""
        first = self.last is None
        changed: set[RunId] = set()
        for resource in WATCHED:
            changed |= await self.list(resource)
        self.last = dt.datetime.now(dt.UTC)
        for key in self._store.run_ids() if first else changed:
            self._queue.add(key)

    async def list(self, resource: Resource) -> set[RunId]:
        """List one kind until it succeeds; return the runs in which an object differed."""
        while True:
            try:
                return await self._list(resource)
            except NotFound:
                self.versions.pop(resource, None)
                return set()  # the kind is not installed
            except (ApiError, ApiUnavailable) as error:  # also a refusal: the operator's Role may not exist yet
                if isinstance(error, ApiError) and error.status == _EXPIRED:
                    continue  # the list took so long that the API server no longer has the version of its pages
                _logger.warning("cannot list %s: %s; retry in %.0f s", resource.plural, error, _RETRY_SECONDS)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _list(self, resource: Resource) -> set[RunId]:
        """List one kind in pages, because parsing blocks the event loop.

        The API server reads the pages from etcd, or from its cache where it has that version. A list that it serves
        from its cache in any version (`resourceVersion=0`) could be older than a DELETE and restore objects.
        """
        version, uids, changed = "", set[str](), set[RunId]()
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
    """Return the label selector of a kind: empty for owners, that of the operator's class for other kinds."""
    return "" if resource.kind in OWNERS else children_selector(settings)
