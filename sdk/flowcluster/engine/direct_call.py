"""Calls of tasks: runs that are executed here and now in a flow function, and calls of the function anywhere else."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from contextlib import nullcontext
from typing import Any

from flowcluster import context, errors, guarding, states
from flowcluster.engine import inputs
from flowcluster.engine.execution import Args, Kwargs, execute, state_of
from flowcluster.engine.run import FlowRun
from flowcluster.engine.task_run import TaskRun
from flowcluster.options import TaskSpec
from flowcluster.portal import run_on_new_loop
from flowcluster.states import State
from flowcluster.waiting import Blocking, Colour, Suspending, current_place, drive

_numbers = itertools.count()


async def call(
    run: FlowRun, spec: TaskSpec, args: Args, kwargs: Kwargs, wait_for: inputs.WaitFor, colour: Colour
) -> State:
    """Execute one run of a task without the task runner, and give its final state.

    Raises ValueError for a name template that does not fit.
    """
    order = inputs.listed(wait_for)
    task_run = TaskRun(run, spec, args, kwargs, order)
    run.opened(task_run.future)
    try:
        await inputs.ended([*task_run.upstream, *inputs.futures_in(order)], colour)
        inputs.check(order)
        if not task_run.is_plain:
            args, kwargs = await _values(args, kwargs, colour if task_run.upstream else None)
        task_run.take_name(args, kwargs)
        if run.verbose:
            run.logger.info("Executing '%s' immediately...", task_run.info.name)
    except inputs.NotReady as blocked:
        state = blocked.state
    except Exception as error:
        state = states.crashed(f"An input could not be fetched: {states.describe(error)}", error)
    except BaseException as error:
        run.closed(task_run.future, state_of(error, "Task run"))  # or the flow would wait for it for ever
        raise
    else:
        state = await _execute(task_run, args, kwargs, colour)
    if task_run.has_user_code(state) and not isinstance(state.data, GeneratorExit):
        await colour.call(lambda: task_run.end(state))
    else:
        task_run.end(state)
    # What interrupted the task means the flow: the task ran in the flow's own thread.
    if isinstance(state.data, KeyboardInterrupt | errors.Terminated):
        raise state.data
    return state


async def _values(args: Args, kwargs: Kwargs, colour: Colour | None) -> tuple[Args, Kwargs]:
    """The arguments with results in place of futures, which may have to come from a cluster, and of states."""
    resolved: tuple[Args, Kwargs]
    if colour is None:
        resolved = inputs.values_of((args, kwargs))
    else:
        resolved = await colour.call(lambda: inputs.values_of((args, kwargs)))
    return resolved


async def _execute(task_run: TaskRun, args: Args, kwargs: Kwargs, colour: Colour) -> State:
    """The state that the run ends in, after as many executions as it takes."""
    run, spec = task_run.run, task_run.spec
    while True:
        task_run.future.started()
        execution = execute(run.payload_of(spec), task_run.info, args, kwargs)
        if spec.is_async and not run.is_async:
            state = run.runner.portal.run(execution)
        else:
            state = await execution
        try:
            if spec.retry_condition is None:
                delay = task_run.next_delay(state)
            else:
                delay = await colour.call(lambda: task_run.next_delay(state))  # noqa: B023 - called here
            if delay is None:
                return state
            await colour.sleep(delay)
        except BaseException as error:
            return state_of(error, "Task run")


def call_function(spec: TaskSpec, args: Args, kwargs: Kwargs, wait_for: inputs.WaitFor, return_state: bool) -> Any:
    """Call a task in another task, or outside of any run: its function, once what it waits for has ended.

    Returns what the function returns, or with `return_state` the state that its run would end in. A sync task gets
    the result of an async function, all other code its coroutine.

    Raises what the function raises, and `UpstreamFailed`, unless `return_state` is true.
    """
    order = inputs.listed(wait_for)
    upstream, is_plain = inputs.look_at_call(args, kwargs)
    is_direct = is_plain and not order and not return_state
    if not spec.is_async:
        if is_direct:
            return spec.function(*args, **kwargs)
        ready = drive(_ready(args, kwargs, order, upstream, Blocking()))
        # Not in the coroutine, which a StopIteration cannot leave.
        return _called(spec, ready, return_state)
    caller = context.current.get()
    if isinstance(caller, context.TaskContext) and not caller.spec.is_async:
        return _run_in(caller, spec, drive(_ready(args, kwargs, order, upstream, Blocking())), return_state)
    if is_direct:
        return spec.function(*args, **kwargs)
    return _called_async(spec, args, kwargs, order, upstream, return_state)


async def _ready(
    args: Args, kwargs: Kwargs, order: list[Any], upstream: list[Any], colour: Colour
) -> tuple[Args, Kwargs] | State:
    """Return the arguments with results in place of futures, or the state of a run that cannot start."""
    try:
        await inputs.ended([*upstream, *inputs.futures_in(order)], colour)
        inputs.check(order)
        return await _values(args, kwargs, colour if upstream else None)
    except inputs.NotReady as blocked:
        return blocked.state


def _called(spec: TaskSpec, ready: tuple[Args, Kwargs] | State, return_state: bool) -> Any:
    if isinstance(ready, State):
        return ready if return_state else ready.result()
    args, kwargs = ready
    if not return_state:
        return spec.function(*args, **kwargs)
    try:
        return states.completed(spec.function(*args, **kwargs))
    except BaseException as error:
        return _state_or_interrupt(error)


async def _called_async(
    spec: TaskSpec, args: Args, kwargs: Kwargs, order: list[Any], upstream: list[Any], return_state: bool
) -> Any:
    ready = await _ready(args, kwargs, order, upstream, Suspending())
    if isinstance(ready, State):
        return ready if return_state else ready.result()
    args, kwargs = ready
    if not return_state:
        return await spec.function(*args, **kwargs)
    try:
        return states.completed(await spec.function(*args, **kwargs))
    except BaseException as error:
        return _state_or_interrupt(error)


def _state_or_interrupt(error: BaseException) -> State:
    if guarding.is_interrupt(error):
        raise error
    return state_of(error, "Task run")


def _run_in(caller: context.TaskContext, spec: TaskSpec, ready: tuple[Args, Kwargs] | State, return_state: bool) -> Any:
    """Execute an async function in a sync task, on a loop of its own.

    It belongs to the caller's run, under a name of its own: the runs that it submits are awaited, in it and at its end.
    """
    if isinstance(ready, State):
        return ready if return_state else ready.result()
    payload = copy.copy(caller.payload)
    payload.spec = dataclasses.replace(spec, cache_key_fn=None, timeout=None)
    info = caller.info._replace(name=f"{caller.name}/{spec.name}-{next(_numbers)}")
    place = current_place()
    # It may wait for runs that need the thread.
    with place() if place else nullcontext():
        state = run_on_new_loop(execute(payload, info, *ready))
    if isinstance(state.data, BaseException) and guarding.is_interrupt(state.data):
        raise state.data
    return state if return_state else state.result()
