"""Task runs that are executed here and now: calls of tasks in a flow function."""

from __future__ import annotations

from flowcluster import errors, states
from flowcluster.engine import inputs
from flowcluster.engine.execution import Args, Kwargs, execute, state_of
from flowcluster.engine.run import FlowRun
from flowcluster.engine.task_run import TaskRun
from flowcluster.options import TaskSpec
from flowcluster.states import State
from flowcluster.waiting import Colour


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
        execution = execute(run.shared(spec), task_run.info, args, kwargs)
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
