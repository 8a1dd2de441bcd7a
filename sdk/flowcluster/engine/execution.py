"""The code around a task function, wherever it is executed: in the flow's process or on a worker."""

from __future__ import annotations

from typing import Any

from flowcluster import context, errors, guarding, prints, states
from flowcluster.context import RunInfo, TaskContext
from flowcluster.engine import timeouts
from flowcluster.engine.caching import CachedRun
from flowcluster.engine.conclusion import conclude
from flowcluster.runners.base import TaskPayload
from flowcluster.states import State, StateType
from flowcluster.tracebacks import is_ours
from flowcluster.waiting import Blocking, Suspending

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


async def execute(payload: TaskPayload, info: RunInfo, args: Args, kwargs: Kwargs) -> State:
    """Call the task function and turn what comes out of it into a state. Never raises.

    Suspends only if the function is a coroutine function.
    """
    run = TaskContext(payload, info, context.flow_of_task())
    token = context.current.set(run)
    prints.install(run.log_prints)
    try:
        state = await _through_cache(run, args, kwargs) if payload.spec.cache_key_fn else await _call(run, args, kwargs)
    except BaseException as error:
        state = state_of(error, "Task run", info.name)
    finally:
        guarding.quietly(prints.ended, run)
        context.current.reset(token)
    if run.nested is not None:
        state = await _with_nested(run, state)
    return state


async def _through_cache(run: TaskContext, args: Args, kwargs: Kwargs) -> State:
    cached = CachedRun(run.spec, run, args, kwargs)
    return await cached.execute(lambda: _call(run, args, kwargs), Suspending() if run.spec.is_async else Blocking())


async def _call(run: TaskContext, args: Args, kwargs: Kwargs) -> State:
    value = await timeouts.call(run.spec, run.name, args, kwargs)
    # A task may say itself how it ended.
    return value if isinstance(value, State) and value.is_final() else states.completed(value)


async def _with_nested(run: TaskContext, state: State) -> State:
    """The task's state once the runs that it submitted have ended; it is judged by them as a flow is by its own."""
    nested, colour = run.nested, Suspending() if run.spec.is_async else Blocking()
    try:
        if not state.is_completed():
            nested.abandon("The task run that submitted it did not complete.")
        await colour.wait(nested.when_idle)
        if nested.exit is not None:
            return state_of(nested.exit, "Task run")
        return await conclude(nested, state.data, colour) if state.is_completed() else state
    except BaseException as error:
        nested.abandon("The task run that submitted it was broken off.")
        return state_of(error, "Task run")
    finally:
        guarding.quietly(nested.release)


def state_of(error: BaseException, what: str, name: str | None = None) -> State:
    """Return the state of a run ("Task run" or "Flow run") with this name that was ended by `error`. Never raises."""
    if isinstance(error, timeouts.Stopped):
        error = error.error
    _trim(error)
    # The time limit of another run, whose exception it passes on, is an exception like any other.
    if isinstance(error, errors.RunTimedOut) and error.run_name == name:
        return State(StateType.FAILED, f"{what} took too long: {error}", error, "TimedOut")
    if isinstance(error, Exception):
        return states.failed(f"{what} encountered an exception: {states.describe(error)}", error)
    if isinstance(error, SystemExit) and not isinstance(error, errors.Terminated):
        code = "" if error.code is None else guarding.repr_of(error.code)
        return states.crashed(f"{what} called sys.exit({code}).", error)
    if type(error).__name__ == "CancelledError":
        return states.cancelled(f"{what} was cancelled.", error)
    return states.crashed(f"{what} was interrupted by {states.describe(error)}", error)


def _trim(error: BaseException) -> None:
    """Take the engine's frames off the start of the traceback: the author of the function wants the rest."""
    trace = first = vars(BaseException)["__traceback__"].__get__(error)
    while trace is not None and trace.tb_next is not None and is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    if trace is not first:
        # An exception may refuse assignments, as that of a frozen dataclass does.
        BaseException.with_traceback(error, trace)
