"""One task run on Ray: its result, and the driver's record until its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from flowcluster.context import RunInfo
from flowcluster.runners.failure import TaskFailure
from flowcluster.runners.ray.stored_results import unpack
from flowcluster.states import Remote, State


class ResultOwner(Protocol):
    """The session that submitted a task run. A protocol avoids an import cycle: sessions create results."""

    def fetch(self, result: RayResult) -> Any:
        """Return the value of the result. Raises `ResultGone` when the cluster has lost it."""


class RayResult(Remote):
    """The handle of a task run, and later its result. The result stays on the cluster until it is fetched.

    Attributes:
        session: that submitted the run.
        info: of the run.
        value: reference to the object of the present or future result; None after `data` is set.
        data: the packed result, if the report of the run's end contained it.
        report: reference to the report of the run's end; None after the end.
        function: that Ray calls with `call` and the results of `upstream`; None after the end.
        started: called when the run is known to be executed.
        done: called with its final state.
        crash: its failure, if it ended for another reason than its function; else None.
        has_references: whether Ray itself waits for its inputs. Such a run must not be cancelled: Ray (2.60) ends the
            whole process, by a failed check of its reference counter, if an input arrives or fails after that.
    """

    __slots__ = (
        "__weakref__",
        "_has_value",
        "_value",
        "call",
        "crash",
        "data",
        "done",
        "function",
        "has_references",
        "info",
        "report",
        "session",
        "started",
        "upstream",
        "value",
    )

    def __init__(
        self,
        session: ResultOwner,
        info: RunInfo,
        function: Any,
        call: bytes,
        upstream: list[RayResult],
        started: Callable[[], None],
        done: Callable[[State], None],
    ) -> None:
        self.session = session
        self.info = info
        self.function = function
        self.call = call
        self.upstream = upstream
        self.started: Callable[[], None] | None = started
        self.done = done
        self.value: Any = None
        self.data: bytes | None = None
        self.report: Any = None
        self.crash: TaskFailure | None = None
        self.has_references = False
        self._has_value = False
        self._value: Any = None

    @property
    def name(self) -> str:
        """Name of the task run."""
        return self.info.name

    def input(self) -> Any:
        """Return the input for a run that needs the result: the result, a reference to it, or the failure."""
        return self.crash or self.data or self.value

    def fetch(self) -> Any:
        """Return the result. The first call fetches it. Raises `ResultGone` when it does not exist any more."""
        if not self._has_value:
            self._value = self.session.fetch(self) if self.data is None else unpack(self.data)
            self._has_value = True
        return self._value

    @property
    def is_here(self) -> bool:
        """Return whether the value was fetched."""
        return self._has_value

    def set_data(self, data: bytes) -> None:
        """Keep the packed result, and let Ray release it."""
        self.data = data
        self.value = None

    def end(self) -> None:
        """Release the attributes that are needed only until the run's end."""
        self.report = self.function = self.started = self.done = None  # type: ignore[assignment]
        self.call = b""
        self.upstream = []
