"""What the runner of a flow and the runner of a task on a worker have in common: a `DaskSession` submits their tasks.

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

    #: A scheduler keeps some kilobytes for each run that it knows of.
    max_in_flight: ClassVar[int | None] = 10_000

    _session: DaskSession | None = None

    def bound(self, changed: Callable[[int | None], None]) -> int | None:
        """The share of the run on a shared cluster, or `max_in_flight`."""
        session = self._opened
        session.share_changed = lambda: changed(session.share.bound(self.max_in_flight))
        return session.share.bound(self.max_in_flight)

    def submit(self, call: TaskCall, done: Callable[[State], None]) -> DaskResult:
        """Send `call` to the scheduler. Annotations made with ``dask.annotate`` hold for it."""
        return self._opened.submit(call, done)

    def chains(self, handle: Any) -> bool:
        """Whether the scheduler of this run knows the future behind `handle`."""
        return self._session is not None and getattr(handle, "session", None) is self._session

    def cancel(self, handle: DaskResult) -> None:
        """Cancel the run. If its function was called, that continues, and its result is ignored."""
        handle.session.cancel(handle)

    def retries(self) -> int:
        """The annotation ``retries``."""
        import dask

        return int(dask.get_annotations().get("retries") or 0)

    def trouble(self) -> ClusterLost | None:
        """Return the loss of the cluster; None while the cluster is there."""
        return self._session.lost() if self._session else None

    @property
    def _opened(self) -> DaskSession:
        if self._session is None:
            raise RuntimeError(f"The task runner {self.name} has not been started.")
        return self._session
