"""Bringing results from a Dask cluster, and small ones together: a round trip costs more than they do."""

from __future__ import annotations

import threading
import weakref
from typing import Any

from flowcluster.runners.dask.result import DaskResult
from flowcluster.runners.dask.worker import opened
from flowcluster.runners.failure import lost_with

# Results up to the first size are fetched together with one that is asked for, up to the second in total.
_TOGETHER, _TOTAL = 65_536, 4_000_000


class Fetching:
    """Gathers results with a session's client."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._unfetched: weakref.WeakSet[DaskResult] = weakref.WeakSet()

    def ready(self, result: DaskResult) -> None:
        """A result is on the cluster, for whoever asks."""
        if result.nbytes <= _TOGETHER:
            with self._lock:
                self._unfetched.add(result)

    def fetch(self, result: DaskResult) -> None:
        """Bring a result here, and smaller ones that are ready with it.

        Raises `ResultGone` if the cluster has lost it, or whatever unpickling it raises.
        """
        together = self._small_results(result)
        try:
            try:
                values = self._client.gather([one.future for one in together])
            except Exception:
                # One of the others may be to blame, which nobody asked for.
                values = [self._client.gather(result.future)]
        except Exception as error:
            if result.is_gone:
                raise lost_with("worker", result.name) from error
            raise
        for one, value in zip(together, values, strict=False):
            one.keep(opened(value))

    def _small_results(self, result: DaskResult) -> list[DaskResult]:
        """The result and others; these will not be tried again."""
        together, size = [result], 0
        with self._lock:
            self._unfetched.discard(result)
            if result.nbytes <= _TOGETHER:
                while self._unfetched and size < _TOTAL:
                    one = self._unfetched.pop()
                    together.append(one)
                    size += one.nbytes
        return together
