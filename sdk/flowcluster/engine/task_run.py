"""One task run: the code around the task function, wherever it is executed, and the way there."""

from __future__ import annotations

import contextvars
from collections.abc import Iterable
from typing import Any

from .. import context, errors, states
from ..context import RunInfo
from ..futures import AsyncTaskFuture, RunFuture, TaskFuture
from ..options import TaskSpec
from ..runners.base import SharedPart, TaskCall
from ..states import State
from ..waiting import Colour, when_all
from . import inputs
from .run import FlowRun

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


async def execute(shared: SharedPart, info: RunInfo, args: Args, kwargs: Kwargs) -> State:
    """Call the task function and turn what comes out of it into a state. Never raises.

    Runs in the flow's process or on a worker. Suspends only if the function is a coroutine function.
    """
    spec = shared.spec
    token = context.current.set(
        context.TaskContext(
            info.name,
            spec.name,
            shared.flow_run_name,
            shared.flow_name,
            context.flow_run(),
            shared.topic,
            shared.level,
        )
    )
    try:
        value = spec.function(*args, **kwargs)
        if spec.is_async:
            value = await value
        return states.completed(value)
    except BaseException as error:
        return state_of(error, "Task run")
    finally:
        context.current.reset(token)


def state_of(error: BaseException, what: str) -> State:
    """The state of a run ("Task run" or "Flow run") that was ended by `error`."""
    # The first frame is the engine's; the author of the function wants the rest.
    if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
        error.__traceback__ = error.__traceback__.tb_next
    if isinstance(error, Exception):
        return states.failed(f"{what} encountered an exception: {states.describe(error)}", error)
    if isinstance(error, SystemExit) and not isinstance(error, errors.Terminated):
        return states.crashed(f"{what} called sys.exit({'' if error.code is None else repr(error.code)}).", error)
    if type(error).__name__ == "CancelledError":
        return states.cancelled(f"{what} was cancelled.", error)
    return states.crashed(f"{what} was interrupted by {states.describe(error)}", error)


def submit(run: FlowRun, spec: TaskSpec, args: Args, kwargs: Kwargs, wait_for: Iterable[Any]) -> RunFuture[Any]:
    """Hand one run of a task to the flow run's task runner.

    The future settles as ``NotReady`` if something among the arguments or in `wait_for` does not complete.
    """
    order = _listed(wait_for)
    waiting = _to_wait_for(run, args, kwargs, order)
    name = run.next_name(spec)
    future: RunFuture[Any] = (AsyncTaskFuture if spec.is_async and run.is_async else TaskFuture)(name)
    run.opened(future)
    if run.verbose:
        if run.runner.concurrency == "sequentially":
            run.logger.info("Executing '%s' immediately...", name)
        else:
            run.logger.info("Submitted task run '%s' for execution.", name)
    if not waiting:
        _launch(run, spec, future, args, kwargs, order)
    else:
        # The caller's context variables (annotations for the runner, for instance) hold for the launch.
        caller = contextvars.copy_context()
        when_all(
            [upstream.add_done_callback for upstream in waiting],
            lambda: caller.run(_launch, run, spec, future, args, kwargs, order),
        )
    return future


def _listed(wait_for: Iterable[Any] | RunFuture[Any]) -> list[Any]:
    return [wait_for] if isinstance(wait_for, RunFuture) else list(wait_for)


def _to_wait_for(run: FlowRun, args: Args, kwargs: Kwargs, order: list[Any]) -> list[RunFuture[Any]]:
    # What only orders runs is waited for here: as an input, its result would travel for nothing.
    waiting = [upstream for upstream in inputs.futures_in(order) if not upstream.is_settled]
    for upstream in inputs.futures_in((args, kwargs)):
        if not upstream.is_settled and not run.chains(upstream):
            waiting.append(upstream)
    return waiting


def _launch(run: FlowRun, spec: TaskSpec, future: RunFuture[Any], args: Args, kwargs: Kwargs, order: list[Any]) -> None:
    if future.is_settled:
        return  # given up while it waited
    try:
        inputs.check(order)
        chained = [upstream for upstream in inputs.futures_in((args, kwargs)) if run.chains(upstream)]
        args, kwargs = inputs.slots_for((args, kwargs), {upstream: place for place, upstream in enumerate(chained)})
        handles = [upstream.handle for upstream in chained]
        info = RunInfo(future.name)
        call = TaskCall(execute, run.shared(spec), future.name, info, args, kwargs, handles, future.started)
        future.handle = run.runner.submit(call, lambda state: run.closed(future, state))
    except inputs.NotReady as blocked:
        run.closed(future, blocked.state)
    except Exception as error:
        # The run ends like one whose worker was lost: nobody may wait for it for ever.
        run.closed(future, states.crashed(f"Task run could not be submitted: {states.describe(error)}", error))


async def _values(args: Args, kwargs: Kwargs, colour: Colour | None) -> tuple[Args, Kwargs]:
    """The arguments with results in place of futures, which may have to come from a cluster, and of states."""
    resolved: tuple[Args, Kwargs]
    if colour is None:
        resolved = inputs.values_of((args, kwargs))
    else:
        resolved = await colour.call(lambda: inputs.values_of((args, kwargs)))
    return resolved


async def call(
    run: FlowRun, spec: TaskSpec, args: Args, kwargs: Kwargs, wait_for: Iterable[Any], colour: Colour
) -> State:
    """Execute one run of a task here and now, without the task runner, and give its final state."""
    order = _listed(wait_for)
    upstream = inputs.futures_in((args, kwargs, order))
    name = run.next_name(spec)
    future: RunFuture[Any] = TaskFuture(name)
    run.opened(future)
    if run.verbose:
        run.logger.info("Executing '%s' immediately...", name)
    try:
        for one in upstream:
            if not one.is_settled:
                await colour.wait(one.add_done_callback)
        inputs.check(order)
        args, kwargs = await _values(args, kwargs, colour if upstream else None)
    except inputs.NotReady as blocked:
        state = blocked.state
    except Exception as error:
        state = states.crashed(f"An input could not be fetched: {states.describe(error)}", error)
    except BaseException as error:
        run.closed(future, state_of(error, "Task run"))  # or the flow would wait for it for ever
        raise
    else:
        future.started()
        execution = execute(run.shared(spec), RunInfo(name), args, kwargs)
        if spec.is_async and not run.is_async:
            state = run.runner.portal.run(execution)
        else:
            state = await execution
    run.closed(future, state)
    # What interrupted the task means the flow: the task ran in the flow's own thread.
    if isinstance(state.data, KeyboardInterrupt | errors.Terminated):
        raise state.data
    return state
