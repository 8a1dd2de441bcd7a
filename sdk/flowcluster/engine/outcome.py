"""The outcome of a flow run, for the operator, the exit code and the record of its cluster."""

from __future__ import annotations

import json

from flowcluster import errors, states
from flowcluster._output.tracebacks import location
from flowcluster._util import exact_json, guarding
from flowcluster.engine.flow_run import FlowRun
from flowcluster_api import driver as api
from flowcluster_api.driver import Outcome, OutcomeState, TaskCounts

#: Bytes of JSON up to which an outcome contains the result.
RESULT_LIMIT = 2048

#: Exceptions by which a user or a program requests the end of a flow run.
_CANCELS = (KeyboardInterrupt, errors.Terminated, GeneratorExit)

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def outcome_of(run: FlowRun) -> Outcome:
    """Return the outcome of a flow run."""
    counts = TaskCounts(run.tally.total, run.tally.completed, run.tally.failed)
    error, state = run.interrupt, run.state

    def outcome(kind: OutcomeState, reason: str, message: str, exit_code: int = api.EXIT_FAILED) -> Outcome:
        return Outcome(state=kind, reason=reason, message=message, exit_code=exit_code, tasks=counts)

    if isinstance(error, SystemExit) and not isinstance(error, errors.Terminated):
        code, text = exit_code_of(error)
        return outcome("Crashed", "FlowExited", f"the flow called sys.exit({text})", code)
    if error is not None and (state.is_cancelled() or isinstance(error, _CANCELS)):
        return outcome("Cancelled", "Cancelled", cancelled(error).message, api.EXIT_CANCELLED)
    if error is not None:  # raised by a handler of a signal, or not an Exception
        return outcome("Failed", "FlowFailed", _with_location(error))
    if state.is_completed():
        result, omitted = _result(state)
        return Outcome(
            state="Completed",
            reason="FlowCompleted",
            message=state.message or "The flow completed.",
            exit_code=api.EXIT_COMPLETED,
            tasks=counts,
            result=result,
            result_omitted=omitted,
        )
    cause = state.exception()
    if isinstance(cause, errors.ParameterError) and not run.has_started:
        return outcome("Failed", "InvalidParameters", str(cause), api.EXIT_USAGE)
    if isinstance(cause, errors.ClusterLost | errors.ClusterUnreachable):
        return outcome("Crashed", type(cause).__name__, str(cause))
    if run.raised is None:
        return outcome("Failed", "TasksFailed", f"{state.message} The first: {_with_location(cause)}")
    return outcome("Failed", "FlowFailed", _with_location(cause))


def cancelled(error: BaseException) -> Outcome:
    """Return the outcome of a run that a signal ended."""
    why = "stopped by SIGTERM" if isinstance(error, errors.Terminated) else "interrupted"
    return Outcome(
        state="Cancelled", reason="Cancelled", message=f"The flow run was {why}.", exit_code=api.EXIT_CANCELLED
    )


def exit_code_of(error: SystemExit) -> tuple[int, str]:
    """Return the exit code of the process after ``sys.exit(x)``, and x as text."""
    if error.code is None:
        return 0, ""
    if isinstance(error.code, int):
        return error.code, str(error.code)
    return 1, guarding.repr_of(error.code)


def to_json(value: object) -> tuple[str | None, str | None]:
    """Return a value as JSON, or why the outcome does not contain it. Both are None for None.

    The outcome contains a small value that JSON does not change. Tuples become lists.
    """
    if value is None:
        return None, None
    text, size = [], 0
    try:
        for piece in _ENCODER.iterencode(value):  # only up to the limit: the value can be large
            text.append(piece)
            size += len(piece.encode())
            if size > RESULT_LIMIT:
                return None, f"it has more than {RESULT_LIMIT} bytes"
        if changed := exact_json.change(value):
            return None, _not_json(f"result{changed}")
    except (TypeError, ValueError, RecursionError) as error:
        return None, _not_json(_change_in(value) or str(error))
    return "".join(text), None


def _not_json(why: str) -> str:
    return f"it cannot be written as JSON: {why}"[:200]


def _change_in(value: object) -> str | None:
    try:
        changed = exact_json.change(value)
    except Exception:
        return None
    return f"result{changed}" if changed else None


def _result(state: states.State) -> tuple[str | None, str | None]:
    try:
        return to_json(state.result())
    except Exception as error:
        # The result was lost with its cluster. The flow has completed all the same.
        return None, states.describe(error)[:200]


def _with_location(error: BaseException) -> str:
    place = location(error)
    return f"{states.describe(error)} ({place})" if place else states.describe(error)
