"""States of flow runs and task runs.

A state has the progress of a run (`type`), a name and a message for people, and after the end of the run its result or
its exception.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

from flowcluster import errors
from flowcluster._util import guarding

if TYPE_CHECKING:
    # `typing.TypeVar` has defaults only from Python 3.13 on. The default lets a bare `State` mean `State[Any]`.
    from typing_extensions import TypeVar

    R_co = TypeVar("R_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    R_co = TypeVar("R_co", covariant=True)


class StateType(enum.StrEnum):
    """The progress of a run."""

    PENDING = "PENDING"
    """It waits for a worker or for other runs; also a run that could not start (named ``NotReady``)."""
    RUNNING = "RUNNING"
    """Its function is being executed."""
    COMPLETED = "COMPLETED"
    """Its function returned."""
    FAILED = "FAILED"
    """Its function raised an exception or took too long, or its child runs did not complete."""
    CRASHED = "CRASHED"
    """It was aborted: it called ``sys.exit``, or its worker or its cluster was lost."""
    CANCELLED = "CANCELLED"
    """It was cancelled, for example by `Future.cancel` or by SIGTERM."""


#: Types of final states.
FINAL = frozenset({StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED})


class Remote(abc.ABC):
    """A result that is kept elsewhere, for example by a worker, until it is fetched."""

    __slots__ = ()

    @abc.abstractmethod
    def fetch(self) -> Any:
        """Return the result.

        Raises:
            ResultGone: the result does not exist any more.
            ClusterLost: the cluster with the result was lost.
        """


class State(Generic[R_co]):
    """The state of a run.

    Attributes:
        type: the progress of the run.
        name: the name for people; it differs from the type for example for ``NotReady``.
        message: one sentence, or None.
        data: the result of a completed run, or a `Remote` in its place; the exception of a run that did not complete.
    """

    __slots__ = ("data", "message", "name", "type")

    def __init__(self, type: StateType, message: str | None = None, data: Any = None, name: str | None = None) -> None:
        self.type = type
        self.name = name or type.value.capitalize()
        self.message = message
        self.data = data

    def is_pending(self) -> bool:
        """Return whether the run waits, or could not start."""
        return self.type is StateType.PENDING

    def is_running(self) -> bool:
        """Return whether the run's function is being executed."""
        return self.type is StateType.RUNNING

    def is_completed(self) -> bool:
        """Return whether the run has completed."""
        return self.type is StateType.COMPLETED

    def is_failed(self) -> bool:
        """Return whether the function raised an exception or took too long, or child runs did not complete."""
        return self.type is StateType.FAILED

    def is_crashed(self) -> bool:
        """Return whether the run was aborted, for example because its worker was lost."""
        return self.type is StateType.CRASHED

    def is_cancelled(self) -> bool:
        """Return whether the run was cancelled."""
        return self.type is StateType.CANCELLED

    def is_final(self) -> bool:
        """Return whether the run has ended."""
        return self.type in FINAL

    @overload
    def result(self, raise_on_failure: Literal[True] = True) -> R_co: ...
    @overload
    def result(self, raise_on_failure: bool) -> R_co | BaseException: ...
    def result(self, raise_on_failure: bool = True) -> Any:
        """Return the result of the run.

        Args:
            raise_on_failure: whether to raise the exception of a run that did not complete. Otherwise it is returned.

        Raises:
            UnfinishedRun: the run has not ended.
            BaseException: the exception of a run that did not complete.
        """
        data = self.data
        if self.type is StateType.COMPLETED:
            return data.fetch() if isinstance(data, Remote) else data
        error = self.exception()
        if raise_on_failure or isinstance(error, errors.UnfinishedRun):
            raise error
        return error

    def exception(self) -> BaseException:
        """Return the exception of a run that did not complete."""
        if isinstance(self.data, BaseException):
            return self.data
        text = self.message or f"The run is in state {self}."
        if self.name == "NotReady":
            return errors.UpstreamFailed(text)
        kind = {
            StateType.FAILED: errors.FailedRun,
            StateType.CRASHED: errors.CrashedRun,
            StateType.CANCELLED: errors.CancelledRun,
        }.get(self.type, errors.UnfinishedRun)
        return kind(text)

    def __repr__(self) -> str:
        shown = [] if self.message is None else [repr(self.message)]
        if self.name.upper() != self.type.value:
            shown.append(f"type={self.type.value}")
        return f"{self.name}({', '.join(shown)})"


def pending(message: str | None = None) -> State:
    """Return the state of a run that waits."""
    return State(StateType.PENDING, message)


def upstream_not_ready(name: str) -> State:
    """Return the state of a run that will never start, because the upstream run `name` did not complete."""
    return State(StateType.PENDING, f"Upstream task run '{name}' did not reach a 'COMPLETED' state.", name="NotReady")


def awaiting_retry(retry: int, retries: int, seconds: float) -> State:
    """Return the state of a run that failed and waits for its next execution."""
    return State(StateType.PENDING, f"Retry {retry} of {retries} starts in {seconds:g} s.", name="AwaitingRetry")


def running() -> State:
    """Return the state of a run whose function is being executed."""
    return State(StateType.RUNNING)


def completed(data: Any = None, message: str | None = None, name: str | None = None) -> State:
    """Return the state of a run whose function returned `data`."""
    return State(StateType.COMPLETED, message, data, name)


def failed(message: str | None, error: BaseException | None = None) -> State:
    """Return the state of a run whose function raised `error`."""
    return State(StateType.FAILED, message, error)


def crashed(message: str, error: BaseException | None = None) -> State:
    """Return the state of a run that `error` aborted."""
    return State(StateType.CRASHED, message, error)


def cancelled(message: str, error: BaseException | None = None) -> State:
    """Return the state of a run that was cancelled."""
    return State(StateType.CANCELLED, message, error)


def describe(error: BaseException) -> str:
    """Return an exception's type and text in one line, as messages of states show it. Never raises."""
    return guarding.describe(error)


def total(states: Iterable[State]) -> State:
    """Return one state for many: completed if all are completed, else with the number of those that are not."""
    tally = Tally()
    for state in states:
        tally.add(state)
    return tally.state()


class Tally:
    """Counts states as runs end, and keeps the first state that is not completed."""

    __slots__ = ("cancelled", "completed", "failed", "first", "total")

    def __init__(self) -> None:
        self.total = self.completed = self.failed = self.cancelled = 0
        self.first: State | None = None

    def add(self, state: State) -> None:
        """Count one more state."""
        self.total += 1
        if state.type is StateType.COMPLETED:
            self.completed += 1
            return
        if state.type is StateType.FAILED or state.type is StateType.CRASHED:
            self.failed += 1
        elif state.type is StateType.CANCELLED:
            self.cancelled += 1
        # A run that never started is a consequence of another failure, which replaces it.
        if self.first is None or (self.first.type is StateType.PENDING and state.type is not StateType.PENDING):
            self.first = state

    def state(self) -> State:
        """Return one state for all states that were added."""
        if self.first is None:
            return completed(message="All states completed.")
        error = self.first.exception()
        if self.cancelled:
            return cancelled(f"{self.cancelled}/{self.total} states cancelled.", error)
        if self.failed:
            return failed(f"{self.failed}/{self.total} states failed.", error)
        waiting = self.total - self.completed
        return failed(f"{waiting}/{self.total} states are not final.", error)
