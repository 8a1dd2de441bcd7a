"""Fetching results from a Dask cluster. Small ones are fetched together, as a round trip costs more than they do."""

from __future__ import annotations

import threading
import weakref
from typing import Any

from flowcluster.runners.dask.result import DaskResult
from flowcluster.runners.dask.worker import opened
from flowcluster.runners.failure import lost_with

#: Bytes of a result up to which it is fetched together with another one, and bytes of all that are fetched together.
_SMALL, _TOTAL = 65_536, 4_000_000


class ResultFetcher:
    """Fetches results with a session's client."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._unfetched: weakref.WeakSet[DaskResult] = weakref.WeakSet()

    def add(self, result: DaskResult) -> None:
        """Record that a result is on the cluster, so that it can be fetched together with others."""
        if result.nbytes <= _SMALL:
            with self._lock:
                self._unfetched.add(result)

    def fetch(self, result: DaskResult) -> None:
        """Fetch a result, together with other small ones.

        Raises:
            ResultGone: the cluster has lost the result.

        Whatever unpickling the result raises is raised, too.
        """
        batch = self._with_others(result)
        try:
            try:
                values = self._client.gather([one.future for one in batch])
            except Exception:
                # The cause can be one of the others, which the caller does not need.
                values = [self._client.gather(result.future)]
        except Exception as error:
            if result.is_gone:
                raise lost_with("worker", result.name) from error
            raise
        for one, value in zip(batch, values, strict=False):
            one.set_value(opened(value))

    def _with_others(self, result: DaskResult) -> list[DaskResult]:
        """Return a result and others, which are not fetched a second time if this fails."""
        batch, size = [result], 0
        with self._lock:
            self._unfetched.discard(result)
            if result.nbytes <= _SMALL:
                while self._unfetched and size < _TOTAL:
                    one = self._unfetched.pop()
                    batch.append(one)
                    size += one.nbytes
        return batch
