"""One task run on a Dask cluster: its result, and the driver's record until its end."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from flowcluster.runners import arguments
from flowcluster.runners.base import TaskCall
from flowcluster.runners.failure import TaskFailure
from flowcluster.states import Remote, State


class ResultOwner(Protocol):
    """The session that submitted a task run. A protocol avoids an import cycle: sessions create results."""

    def fetch(self, result: DaskResult) -> None:
        """Fetch the result and pass it to `DaskResult.set_value`. Raises `ResultGone` when the cluster has lost it."""

    def cancel(self, result: DaskResult) -> None:
        """Cancel the task run."""


class DaskResult(Remote):
    """The handle of a task run, and later its result. A large result stays on the cluster until it is fetched.

    Attributes:
        session: that submitted the run.
        name: of the task run.
        key: of the run on the cluster.
        future: keeps the result on the cluster; None before the run is sent, and after `data` is set.
        data: the pickled result or `TaskFailure` of the run. None while only the cluster has it.
        worker: address of the worker that executed it; empty before its end.
        started_at, ended_at: start and end of its function, in seconds since the epoch; 0 before its end.
        nbytes: size of the result in memory, as Dask measures it.
        is_here: whether this process has the value.
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
        """Return the result. The first call fetches it. Raises `ResultGone` when it does not exist any more."""
        if not self.is_here:
            if self.data is not None:
                self.set_value(pickle.loads(self.data))
            else:
                self.session.fetch(self)
        return self._value

    def set_value(self, value: Any) -> None:
        """Keep the value in this process."""
        self._value = value
        self.is_here = True

    def set_data(self, data: bytes) -> None:
        """Keep the pickled result of the run, and let the cluster release it."""
        self.data = data
        self.future = None

    def set_failure(self, state: State) -> None:
        """Record that the run ended in `state` without a result. Runs that need its result get this state."""
        self.set_data(pickle.dumps(TaskFailure(self.name, state), protocol=5))

    @property
    def is_gone(self) -> bool:
        """Return whether the cluster has lost the result, and the driver does not have it."""
        return self.data is None and self.future is not None and self.future.cancelled()


class PendingTask:
    """A task run that was submitted and has not ended.

    Attributes:
        result: handle of the run.
        code: name of the code of the task; see `CodeRegistry`.
        call: the run's `RunInfo` and its arguments, pickled.
        upstream: runs whose results it needs, in the order of its slots.
        annotations: Dask's annotations of the run.
        started, done: called when the run starts, and with its final state.
        by_key: the results of `upstream` that the cluster passes on, with their keys when the run was sent.
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
