"""Watches of runs and of their children, one for each kind.

A watch begins at the resource version of the list before it. After it breaks, the next watch continues from the last
version, so that no deletion is missed. kopf's own watches do not report an object that was deleted while no watch was
open. kopf also keeps a state and starts a task for each object, which took most of the operator's CPU and memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from flowcluster_operator.errors import ApiError, ApiUnavailable, NotFound
from flowcluster_operator.informer.projection import is_metadata_only
from flowcluster_operator.informer.resync import Resync, selector
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import WATCHED, Object, Resource
from flowcluster_operator.settings import Settings
from flowcluster_operator.workqueue import Queue

_logger = logging.getLogger(__name__)
#: Seconds before a broken watch is opened again; seconds between checks for a kind that is not installed.
_RETRY_SECONDS, _ABSENT_SECONDS = 0.5, 10.0
#: Seconds before a watch that the API server ended is opened again.
_PAUSE_SECONDS = 0.05
#: HTTP status: the resource version is too old, so that the kind has to be listed.
_GONE = 410


class Watches:
    """Reports every change of a run and of its children.

    Args:
        settings: of the operator.
        kube: the client.
        resync: lists a kind before its watch begins, and when the version of its watch has become too old.
        queue: of the runs that are due.
        seen: is called with the kind, type and object of each event.
    """

    def __init__(
        self, settings: Settings, kube: Kube, resync: Resync, queue: Queue[RunId],
        seen: Callable[[Resource, str, Object], None],
    ) -> None:  # fmt: skip
        self._settings, self._kube, self._resync, self._queue, self._seen = settings, kube, resync, queue, seen

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for resource in WATCHED:
                group.create_task(self._follow(resource))

    async def _follow(self, resource: Resource) -> None:
        version = self._resync.versions.get(resource, "")
        while True:
            try:
                version = version or await self._list(resource)
                version = await self._watch(resource, version)
            except NotFound:
                version = ""
                await asyncio.sleep(_ABSENT_SECONDS)
            except ApiError as error:
                version = ""
                if error.status != _GONE:
                    _logger.warning("cannot watch %s: %s; retry in %.1f s", resource.plural, error, _RETRY_SECONDS)
                    await asyncio.sleep(_RETRY_SECONDS)

    async def _list(self, resource: Resource) -> str:
        """List a kind; return the version of the list.

        Raises:
            NotFound: the kind is not installed.
        """
        for key in await self._resync.list(resource):
            self._queue.add(key)
        if resource not in self._resync.versions:
            raise NotFound(404, "NotFound", f"there is no kind {resource.kind}")
        return self._resync.versions[resource]

    async def _watch(self, resource: Resource, version: str) -> str:
        """Handle events until the watch ends; return the version to go on from, empty when the kind has to be listed.

        Raises:
            ApiError: the watch was refused.
        """
        try:
            async for event in self._kube.watch(
                resource, self._settings.namespace or None, labels=selector(resource, self._settings),
                metadata_only=is_metadata_only(resource), version=version,
            ):  # fmt: skip
                if event["type"] == "ERROR":
                    version = ""
                    break
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._seen(resource, event["type"], event["object"])
        except ApiUnavailable as error:
            _logger.info("the watch of %s broke and is opened again: %s", resource.plural, error)
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            await asyncio.sleep(_PAUSE_SECONDS)  # the API server ends every watch after some time
        return version
