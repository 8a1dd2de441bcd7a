"""Execution of a task function, in the flow's process or on a worker: caching, time limit, nested runs, state."""

from __future__ import annotations

from typing import Any

from flowcluster import context, errors, states
from flowcluster._output import prints
from flowcluster._output.tracebacks import is_ours
from flowcluster._util import guarding
from flowcluster._util.waiting import Blocking, Suspending
from flowcluster.context import RunInfo, TaskContext
from flowcluster.engine import timeouts
from flowcluster.engine.caching.cached_run import CachedRun
from flowcluster.engine.final_state import final_state
from flowcluster.runners.base import TaskPayload
from flowcluster.states import State, StateType

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


async def execute_task(payload: TaskPayload, info: RunInfo, args: Args, kwargs: Kwargs) -> State:
    """Call the task function, and return the state of the execution. Never raises.

    It suspends only if the function is a coroutine function.
    """
    run = TaskContext(payload, info, context.flow_of_task())
    token = context.current.set(run)
    prints.install(run.log_prints)
    try:
        state = await _through_cache(run, args, kwargs) if run.spec.cache_key_fn else await _call(run, args, kwargs)
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
    return await cached.get_or_run(lambda: _call(run, args, kwargs), Suspending() if run.spec.is_async else Blocking())


async def _call(run: TaskContext, args: Args, kwargs: Kwargs) -> State:
    value = await timeouts.call_with_limit(run.spec, run.name, args, kwargs)
    # A task can return its own final state.
    return value if isinstance(value, State) and value.is_final() else states.completed(value)


async def _with_nested(run: TaskContext, state: State) -> State:
    """Wait for the runs that the task submitted, and return the task's final state, by the rule for flows."""
    nested, strategy = run.nested, Suspending() if run.spec.is_async else Blocking()
    try:
        if not state.is_completed():
            nested.abandon("The task run that submitted it did not complete.")
        await strategy.wait(nested.when_idle)
        if nested.exit is not None:
            return state_of(nested.exit, "Task run")
        return await final_state(nested, state.data, strategy) if state.is_completed() else state
    except BaseException as error:
        nested.abandon("The task run that submitted it was interrupted.")
        return state_of(error, "Task run")
    finally:
        guarding.quietly(nested.release)


def state_of(error: BaseException, what: str, name: str | None = None) -> State:
    """Return the state of a run that `error` ended. Never raises.

    Args:
        error: the exception.
        what: "Task run" or "Flow run", for the message.
        name: of the run.
    """
    if isinstance(error, timeouts.Stopped):
        error = error.error
    _trim(error)
    # A time limit of another run, whose exception is raised again here, is an exception like any other.
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
    """Remove the engine's frames from the start of the traceback."""
    trace = first = vars(BaseException)["__traceback__"].__get__(error)
    while trace is not None and trace.tb_next is not None and is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    if trace is not first:
        # An exception can refuse assignments, for example one that is a frozen dataclass.
        BaseException.with_traceback(error, trace)
