"""The objects that a worker returns in place of a plain result, and the errors of results that were lost."""

from __future__ import annotations

from typing import Any, NamedTuple

from flowcluster import errors, states
from flowcluster._output.tracebacks import format_trimmed, location, with_code
from flowcluster.project.source import cleaned
from flowcluster.runners import pickled_exceptions
from flowcluster.states import State, StateType


class NamedResult(NamedTuple):
    """The result of a run that completed in a state with a name of its own, such as ``Cached``."""

    name: str
    value: Any


def left_behind(name: str) -> errors.ResultGone:
    """Return the error for a result that the flow did not fetch before its flow run ended."""
    return errors.ResultGone(
        f"The result of task run '{name}' was lost when its flow run released the cluster: return the future from the "
        "flow, or call its result() in the flow."
    )


def lost_with(holder: str, name: str) -> errors.ResultGone:
    """Return the error for a result that was lost with the worker or node that had it.

    Args:
        holder: "worker" or "node".
        name: name of the task run.
    """
    return errors.ResultGone(
        f"The result of task run '{name}' was lost with the {holder} that had it. The run is not repeated, because it "
        f"can have had other effects. Return less, or store large results where they outlive a {holder}."
    )


class TaskFailure:
    """The object that a task run returns in place of a result when it did not complete.

    It has only plain values, so the driver can unpickle it even if it cannot unpickle the exception.
    """

    __slots__ = ("error", "location", "message", "name", "run_name", "text", "trace", "type")

    def __init__(self, run_name: str, state: State) -> None:
        self.run_name = run_name
        self.type = state.type.value
        self.name = state.name
        self.message = state.message and cleaned(state.message)
        self.error: bytes | None = None
        self.text = self.trace = ""
        self.location: str | None = None
        if isinstance(state.data, BaseException):
            self.text = cleaned(states.describe(state.data))
            self.trace = cleaned(format_trimmed(state.data))
            self.location = location(state.data)
            self.error = pickled_exceptions.dump(state.data)

    def state(self) -> State:
        """Return the run's final state, with the exception or, if this process cannot unpickle it, a `RemoteError`."""
        return State(StateType(self.type), self.message, self.exception(), self.name)

    def exception(self) -> BaseException | None:
        """Return the exception of the run; None for a run without one.

        The worker's traceback is the cause of the exception, or of its innermost cause.
        """
        if not self.text:
            return None
        error = pickled_exceptions.load(self.error) if self.error is not None else None
        if error is None:
            error = errors.RemoteError(self.text)
        innermost = error
        while (cause := pickled_exceptions.chained(innermost)) is not None:
            innermost = cause
        trace = errors.RemoteTraceback(with_code(self.trace), self.location)
        trace.owner = id(error)
        pickled_exceptions.chain(innermost, "__cause__", trace)
        return error


def unsendable(run_name: str, result: Any, error: BaseException) -> TaskFailure:
    """Return the failure of a run whose result cannot be pickled, because of `error`."""
    message = f"The result, of type {type(result).__name__}, cannot be sent: {states.describe(error)}"
    return TaskFailure(run_name, states.failed(message, error))
