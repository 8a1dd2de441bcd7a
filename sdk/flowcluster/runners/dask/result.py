"""One task run on a Dask cluster: what the driver knows of it, and its result."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from flowcluster.runners import arguments
from flowcluster.runners.base import TaskCall
from flowcluster.runners.failure import TaskFailure
from flowcluster.states import Remote, State


class ResultOwner(Protocol):
    """The session that submitted a task run. It is a protocol, as sessions make results."""

    def fetch(self, result: DaskResult) -> None:
        """Fetch the result, and give it to `DaskResult.keep`. Raises `ResultGone` when the cluster has lost it."""

    def cancel(self, result: DaskResult) -> None:
        """Cancel the task run."""


class DaskResult(Remote):
    """A task run on the cluster, and later its result, which stays there until it is fetched if it is not small.

    Attributes:
        session: whose run it is.
        name: of the task run.
        key: what the run is called on the cluster.
        future: keeps the result there; None before the run is sent, and once `data` is here.
        data: what the run left behind, pickled: its result or a `TaskFailure`. None unless it is here.
        worker: address of the worker that executed it; empty before its end.
        started_at, ended_at: when its function was called and left, in seconds since the epoch; 0 before its end.
        nbytes: size of the result in memory, as Dask sees it.
    """

    __slots__ = (
        "__weakref__",
        "_value",
        "data",
        "ended_at",
        "future",
        "is_here",
        "key",
        "name",
        "nbytes",
        "session",
        "started_at",
        "worker",
    )

    def __init__(self, session: ResultOwner, name: str, key: str) -> None:
        self.session = session
        self.name = name
        self.key = key
        self.future: Any = None
        self.data: bytes | None = None
        self.worker = ""
        self.started_at = self.ended_at = 0.0
        self.nbytes = 0
        self.is_here = False
        self._value: Any = None

    def fetch(self) -> Any:
        """Bring the result here, once. Raises `ResultGone` when it does not exist any more."""
        if not self.is_here:
            if self.data is not None:
                self.keep(pickle.loads(self.data))
            else:
                self.session.fetch(self)
        return self._value

    def keep(self, value: Any) -> None:
        """Remember the value; the cluster may forget it."""
        self._value = value
        self.is_here = True

    def leave(self, data: bytes) -> None:
        """The run's end is known, and what it left; the cluster may forget it."""
        self.data = data
        self.future = None

    def fail(self, state: State) -> None:
        """The run ended in `state`, without having left anything; for runs that were to use its result."""
        self.leave(pickle.dumps(TaskFailure(self.name, state), protocol=5))

    @property
    def is_gone(self) -> bool:
        """Whether the cluster has lost the result and the driver never had it."""
        return self.data is None and self.future is not None and self.future.cancelled()


class Submission:
    """A task run that was submitted and has not ended.

    Attributes:
        result: what it will leave.
        code: names what all runs of the task have in common.
        call: which run it is and its arguments, pickled.
        upstream: runs whose results it needs, in the order of its slots.
        annotations: what Dask is to know about it.
        started, done: to be called when it begins and with its final state.
        by_key: those of `upstream` whose results the cluster was to pass on, and their keys at that time.
        has_begun: whether its function was called.
    """

    __slots__ = ("annotations", "by_key", "call", "code", "done", "has_begun", "result", "started", "upstream")

    def __init__(
        self,
        result: DaskResult,
        code: str,
        call: TaskCall,
        annotations: Mapping[str, Any],
        done: Callable[[State], None],
    ) -> None:
        self.result = result
        self.code = code
        self.call = pickle.dumps((tuple(call.info), arguments.dump(call)), protocol=5)
        self.upstream: list[DaskResult] = call.upstream
        self.annotations = annotations
        self.started = call.started
        self.done = done
        self.by_key: list[tuple[DaskResult, str]] = []
        self.has_begun = False
