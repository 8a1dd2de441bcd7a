"""Fetch results from a Dask cluster: small ones together, because a round trip takes longer than their transfer."""

from __future__ import annotations

import threading
import weakref
from typing import Any

from flowcluster.runners.dask.result import DaskResult
from flowcluster.runners.dask.worker import opened
from flowcluster.runners.failure import lost_with

#: Largest size of a result that is fetched together with others, and of all results of one fetch, in bytes.
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

        Exceptions from unpickling the result are raised, too.
        """
        batch = self._with_others(result)
        try:
            try:
                values = self._client.gather([one.future for one in batch])
            except Exception:
                # Another result of the batch can be the cause. The caller does not need that one.
                values = [self._client.gather(result.future)]
        except Exception as error:
            if result.is_gone:
                raise lost_with("worker", result.name) from error
            raise
        for one, value in zip(batch, values, strict=False):
            one.set_value(opened(value))

    def _with_others(self, result: DaskResult) -> list[DaskResult]:
        """Return a result and others. The others are not fetched together a second time if this fails."""
        batch, size = [result], 0
        with self._lock:
            self._unfetched.discard(result)
            if result.nbytes <= _SMALL:
                while self._unfetched and size < _TOTAL:
                    one = self._unfetched.pop()
                    batch.append(one)
                    size += one.nbytes
        return batch
