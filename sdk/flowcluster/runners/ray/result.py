"""One task run on Ray: what the driver knows of it, and its result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from flowcluster.context import RunInfo
from flowcluster.runners.failure import TaskFailure
from flowcluster.runners.ray.results import unpack
from flowcluster.states import Remote, State


class ResultOwner(Protocol):
    """The session that submitted a task run. It is a protocol, as sessions make results."""

    def fetch(self, result: RayResult) -> Any:
        """Return the value of the result. Raises `ResultGone` when the cluster has lost it."""


class RayResult(Remote):
    """A task run on the cluster, and later its result, which stays there until it is fetched.

    Attributes:
        session: whose run it is.
        info: which run it is.
        value: reference to the object that the result is, or will be; None once `data` is here.
        data: the packed result, if it came with the news of the run's end.
        news: reference to the news of the run's end, until that.
        function: what Ray calls for it, with `call` and the results of `upstream`; until its end.
        started: to be called once it is known to be executed.
        done: to be called with its final state.
        crash: how it ended, if it left no result for another reason than its function.
        has_references: whether Ray itself waits for its inputs. Such a run must not be cancelled: Ray
            (2.60) ends the whole process, by a failed check of its reference counter, if an input
            arrives or fails after that.
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
        "news",
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
        self.news: Any = None
        self.crash: TaskFailure | None = None
        self.has_references = False
        self._has_value = False
        self._value: Any = None

    @property
    def name(self) -> str:
        """Name of the task run."""
        return self.info.name

    def input(self) -> Any:
        """What Ray is to give to a run that needs the result: that, a reference to it, or why there is none."""
        return self.crash or self.data or self.value

    def fetch(self) -> Any:
        """Bring the result here, once. Raises `ResultGone` when it does not exist any more."""
        if not self._has_value:
            self._value = self.session.fetch(self) if self.data is None else unpack(self.data)
            self._has_value = True
        return self._value

    @property
    def is_here(self) -> bool:
        """Whether the value was fetched."""
        return self._has_value

    def keep(self, data: bytes | None) -> None:
        """The run completed; if its packed result came along, Ray may forget it."""
        if data is not None:
            self.data = data
            self.value = None

    def has_ended(self) -> None:
        """Forget what was needed only to get here."""
        self.news = self.function = self.started = self.done = None  # type: ignore[assignment]
        self.call = b""
        self.upstream = []
