"""The base class of two runners that submit by a `DaskSession`: the runner of a flow, and that of a task on a worker.

`import flowcluster` imports this module, so it imports Dask only inside functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from flowcluster.errors import ClusterLost
from flowcluster.runners.base import TaskCall, TaskRunner
from flowcluster.states import State

if TYPE_CHECKING:
    from flowcluster.runners.dask.result import DaskResult
    from flowcluster.runners.dask.session import DaskSession


class SessionRunner(TaskRunner):
    """A task runner whose `open` sets `_session`."""

    concurrency: ClassVar[str] = "in parallel"

    #: A scheduler uses some kilobytes of memory for each run in flight.
    max_in_flight: ClassVar[int | None] = 10_000

    _session: DaskSession | None = None

    def bound(self, changed: Callable[[int | None], None]) -> int | None:
        """Return the limit of the run's share of a shared cluster, or `max_in_flight`."""
        session = self._opened
        session.share_changed = lambda: changed(session.share.bound(self.max_in_flight))
        return session.share.bound(self.max_in_flight)

    def submit(self, call: TaskCall, done: Callable[[State], None]) -> DaskResult:
        """Send `call` to the scheduler, with the annotations of ``dask.annotate``."""
        return self._opened.submit(call, done)

    def chains(self, handle: Any) -> bool:
        """Return whether the run of `handle` is in the session of this runner."""
        return self._session is not None and getattr(handle, "session", None) is self._session

    def cancel(self, handle: DaskResult) -> None:
        """Cancel the run. A function that was called continues, and its result is ignored."""
        handle.session.cancel(handle)

    def retries(self) -> int:
        """Return the annotation ``retries``."""
        import dask

        return int(dask.get_annotations().get("retries") or 0)

    def trouble(self) -> ClusterLost | None:
        """Return the loss of the cluster; None while the cluster exists."""
        return self._session.lost() if self._session else None

    @property
    def _opened(self) -> DaskSession:
        if self._session is None:
            raise RuntimeError(f"The task runner {self.name} has not been started.")
        return self._session
