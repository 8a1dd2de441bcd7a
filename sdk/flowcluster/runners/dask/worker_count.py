"""The number of workers of a Dask cluster, for callers that read it often and must not block."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future
from typing import Any

#: Seconds between two queries: workers do not report to the scheduler more often.
INTERVAL = 1.0


class WorkerCount:
    """Queries the scheduler for the number. Each read returns the last answer, and starts the next query if it is due.

    Args:
        client: a connected ``distributed.Client``.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._queried_at: float | None = None
        self._query: Future[Any] | None = None
        self._workers: int | None = None

    @property
    def value(self) -> int | None:
        """Return the number of connected workers; None before the first answer."""
        self._start_query()
        return self._workers

    def _start_query(self) -> None:
        now = time.monotonic()
        if self._queried_at is not None and now - self._queried_at < INTERVAL:
            return
        if self._query is not None and not self._query.done():
            return
        self._queried_at = now
        query = self._identity()
        try:
            self._query = asyncio.run_coroutine_threadsafe(query, self._client.loop.asyncio_loop)
        except RuntimeError:  # the client is closing
            query.close()

    async def _identity(self) -> None:
        try:
            identity = await self._client.scheduler.identity(n_workers=0)
        except Exception:
            return  # the scheduler is lost, which the session reports
        self._workers = identity.get("n_workers")
