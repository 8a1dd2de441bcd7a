"""How large a Dask cluster is, for those who look again and again and must not wait."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future
from typing import Any

#: Seconds for which an answer is good: workers tell the scheduler no more often.
INTERVAL = 1.0


class DaskLoad:
    """A number that a cluster's scheduler knows; each look asks for a newer one and gives the last.

    Args:
        client: a connected ``distributed.Client``.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._asked: float | None = None
        self._question: Future[Any] | None = None
        self._workers: int | None = None

    @property
    def workers(self) -> int | None:
        """Workers that are connected; None before the first answer."""
        self._ask()
        return self._workers

    def _ask(self) -> None:
        now = time.monotonic()
        if self._asked is not None and now - self._asked < INTERVAL:
            return
        if self._question is not None and not self._question.done():
            return
        self._asked = now
        question = self._identity()
        try:
            self._question = asyncio.run_coroutine_threadsafe(question, self._client.loop.asyncio_loop)
        except RuntimeError:  # the client is closing
            question.close()

    async def _identity(self) -> None:
        try:
            told = await self._client.scheduler.identity(n_workers=0)
        except Exception:
            return  # there is no scheduler to ask any more, which others report
        self._workers = told.get("n_workers")
