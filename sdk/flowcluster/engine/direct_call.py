"""Direct calls of tasks: task runs without the task runner in a flow, and plain function calls anywhere else."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from contextlib import nullcontext
from typing import Any

from flowcluster import context, errors, states
from flowcluster._util import guarding
from flowcluster._util.portal import run_on_new_loop
from flowcluster._util.waiting import Blocking, Suspending, WaitStrategy, current_slot, drive
from flowcluster.engine import inputs
from flowcluster.engine.flow_run import FlowRun
from flowcluster.engine.task_execution import Args, Kwargs, execute_task, state_of
from flowcluster.engine.task_run import TaskRun
from flowcluster.engine.task_spec import TaskSpec
from flowcluster.states import State

_numbers = itertools.count()


async def call_task(
    run: FlowRun, spec: TaskSpec, args: Args, kwargs: Kwargs, wait_for: inputs.WaitFor, strategy: WaitStrategy
) -> State:
    """Execute one run of a task without the task runner, and return its final state.

    Raises:
        ValueError: the template of the run's name does not fit.
    """
    order = inputs.listed(wait_for)
    task_run = TaskRun(run, spec, args, kwargs, order)
    run.track(task_run.future)
    try:
        await inputs.wait_until_ended([*task_run.upstream, *inputs.futures_in(order)], strategy)
        inputs.check(order)
        if not task_run.is_plain:
            args, kwargs = await _values(args, kwargs, strategy if task_run.upstream else None)
        task_run.take_name(args, kwargs)
        if run.verbose:
            run.logger.info("Executing '%s' immediately...", task_run.info.name)
    except inputs.NotReady as blocked:
        state = blocked.state
    except Exception as error:
        state = states.crashed(f"An input could not be fetched: {states.describe(error)}", error)
    except BaseException as error:
        run.finish(task_run.future, state_of(error, "Task run"))  # or the flow would wait for it forever
        raise
    else:
        state = await _execute_with_retries(task_run, args, kwargs, strategy)
    if task_run.has_user_code(state) and not isinstance(state.data, GeneratorExit):
        await strategy.run_sync(lambda: task_run.end(state))
    else:
        task_run.end(state)
    # An interrupt is for the flow: the task ran in the flow's own thread.
    if isinstance(state.data, KeyboardInterrupt | errors.Terminated):
        raise state.data
    return state


async def _values(args: Args, kwargs: Kwargs, strategy: WaitStrategy | None) -> tuple[Args, Kwargs]:
    """Return the arguments with results in place of futures and states. Results can be fetched from a cluster."""
    resolved: tuple[Args, Kwargs]
    if strategy is None:
        resolved = inputs.values_of((args, kwargs))
    else:
        resolved = await strategy.run_sync(lambda: inputs.values_of((args, kwargs)))
    return resolved


async def _execute_with_retries(task_run: TaskRun, args: Args, kwargs: Kwargs, strategy: WaitStrategy) -> State:
    """Execute the run, with its retries, and return the final state."""
    run, spec = task_run.run, task_run.spec
    while True:
        task_run.future.started()
        execution = execute_task(run.payload_of(spec), task_run.info, args, kwargs)
        if spec.is_async and not run.is_async:
            state = run.runner.portal.run(execution)
        else:
            state = await execution
        try:
            if spec.retry_condition is None:
                delay = task_run.next_delay(state)
            else:
                delay = await strategy.run_sync(lambda: task_run.next_delay(state))  # noqa: B023 - called here
            if delay is None:
                return state
            await strategy.sleep(delay)
        except BaseException as error:
            return state_of(error, "Task run")


def call_function(spec: TaskSpec, args: Args, kwargs: Kwargs, wait_for: inputs.WaitFor, return_state: bool) -> Any:
    """Call the function of a task, in another task or outside of any run, after the runs that it waits for.

    Returns:
        What the function returns. With `return_state`, the state that a task run would have. For an async function: its
        result in a sync task, and its coroutine in all other code.

    Raises:
        UpstreamFailed: a run that it waits for did not complete, unless `return_state` is true.
        BaseException: whatever the function raises, unless `return_state` is true.
    """
    order = inputs.listed(wait_for)
    upstream, is_plain = inputs.find_futures_in_call(args, kwargs)
    is_direct = is_plain and not order and not return_state
    if not spec.is_async:
        if is_direct:
            return spec.function(*args, **kwargs)
        ready = drive(_ready(args, kwargs, order, upstream, Blocking()))
        # Not in the coroutine: a StopIteration cannot leave it.
        return _called(spec, ready, return_state)
    caller = context.current.get()
    if isinstance(caller, context.TaskContext) and not caller.spec.is_async:
        return _run_in(caller, spec, drive(_ready(args, kwargs, order, upstream, Blocking())), return_state)
    if is_direct:
        return spec.function(*args, **kwargs)
    return _called_async(spec, args, kwargs, order, upstream, return_state)


async def _ready(
    args: Args, kwargs: Kwargs, order: list[Any], upstream: list[Any], strategy: WaitStrategy
) -> tuple[Args, Kwargs] | State:
    """Return the arguments with results in place of futures, or the state of a run that cannot start."""
    try:
        await inputs.wait_until_ended([*upstream, *inputs.futures_in(order)], strategy)
        inputs.check(order)
        return await _values(args, kwargs, strategy if upstream else None)
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
    """Execute an async function in a sync task, on an event loop of its own.

    It belongs to the caller's run, under another name: runs that it submits are awaited in it and at its end.
    """
    if isinstance(ready, State):
        return ready if return_state else ready.result()
    payload = copy.copy(caller.payload)
    payload.spec = dataclasses.replace(spec, cache_key_fn=None, timeout=None)
    info = caller.info._replace(name=f"{caller.name}/{spec.name}-{next(_numbers)}")
    slot = current_slot()
    # The function can wait for runs that need this thread.
    with slot() if slot else nullcontext():
        state = run_on_new_loop(execute_task(payload, info, *ready))
    if isinstance(state.data, BaseException) and guarding.is_interrupt(state.data):
        raise state.data
    return state if return_state else state.result()
