"""One flow run from start to end: names, runner, function, waiting for what it submitted, final state."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

from .. import context, errors, logs, names, states
from ..futures import RunFuture
from ..nesting import replace
from ..portal import run_on_new_loop
from ..runners.base import TaskRunner
from ..states import State, Tally
from ..waiting import Blocking, Colour, Suspending, drive
from . import inputs, parameters
from .run import FlowRun
from .signals import Termination, sigterm_interrupts
from .task_run import state_of


@dataclasses.dataclass(frozen=True, eq=False)
class FlowSpec:
    """A flow's function and options.

    Attributes:
        function: what the flow runs.
        name: name of the flow.
        is_async: whether the function is a coroutine function.
        runner: a task runner that is not open; each run opens its own duplicate.
        validate: whether parameters are converted to the types of the function's annotations.
    """

    function: Callable[..., Any]
    name: str
    is_async: bool
    runner: TaskRunner
    validate: bool = True


def run_blocking(spec: FlowSpec, args: tuple[Any, ...], kwargs: dict[str, Any], run_name: str | None = None) -> FlowRun:
    """Run a flow, sync or async, to its end; never raises what the flow raised."""
    if spec.is_async:
        record = run_on_new_loop(run(spec, args, kwargs, Suspending(), run_name))
        if type(record.interrupt).__name__ == "CancelledError":
            # Nobody else holds that loop: this is how it passes Ctrl-C on.
            record.interrupt = KeyboardInterrupt()
        return record
    return drive(run(spec, args, kwargs, Blocking(), run_name))


async def run_async(
    spec: FlowSpec, args: tuple[Any, ...], kwargs: dict[str, Any], run_name: str | None = None
) -> FlowRun:
    """Run an async flow to its end on the running event loop; never raises what the flow raised."""
    return await run(spec, args, kwargs, Suspending(), run_name)


async def run(
    spec: FlowSpec, args: tuple[Any, ...], kwargs: dict[str, Any], colour: Colour, run_name: str | None
) -> FlowRun:
    """The core of both: `colour` is all that differs."""
    logs.configure()
    parent = context.flow_run()
    assert parent is None or isinstance(parent, FlowRun)
    run = FlowRun(run_name or names.run_name(), spec.name, spec.is_async, spec.runner.duplicate(), parent)
    _announce(run)
    token = context.current.set(run)
    try:
        if parent:
            run.state = await _run_and_close(run, spec, args, kwargs, colour)
        else:
            with sigterm_interrupts(on_loop=spec.is_async) as termination:
                run.state = await _run_and_close(run, spec, args, kwargs, colour, termination)
    finally:
        context.current.reset(token)
    if parent:
        parent.count(run.state)
    run.logger.log(logging.INFO if run.state.is_completed() else logging.ERROR, "Finished in state %s", str(run.state))
    return run


def _announce(run: FlowRun) -> None:
    if run.parent:
        run.parent.logger.info("Created subflow run '%s' for flow '%s'", run.name, run.flow_name)
        return
    logs.engine.info("Created flow run '%s' for flow '%s'", run.name, run.flow_name)
    run.logger.info("Starting '%s'; submitted tasks will be run %s...", run.runner.name, run.runner.concurrency)


async def _run_and_close(
    run: FlowRun,
    spec: FlowSpec,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    colour: Colour,
    termination: Termination | None = None,
) -> State:
    try:
        state = await _run(run, spec, args, kwargs, colour)
    except BaseException as error:
        state = _interrupted(run, errors.Terminated() if termination and termination.received else error)
    # A coroutine that is being closed may not suspend any more.
    if isinstance(run.interrupt, GeneratorExit):
        colour = Blocking()
    try:
        await colour.call(lambda: run.runner.close(cancel=run.interrupt is not None))
    except Exception:
        # The flow's outcome stands; what could not be closed is for a person to look at.
        run.logger.exception("'%s' could not be closed:", run.runner.name)
    return state


async def _run(run: FlowRun, spec: FlowSpec, args: tuple[Any, ...], kwargs: dict[str, Any], colour: Colour) -> State:
    value: Any = None
    state: State | None = None
    try:
        args, kwargs = await _inputs(args, kwargs, colour)
        if spec.validate:
            bound = parameters.bind(spec.name, spec.function, args, kwargs)
            args, kwargs = bound.args, bound.kwargs
        await colour.call(run.runner.open)
        run.has_started = True
        value = spec.function(*args, **kwargs)
        if spec.is_async:
            value = await value
    except inputs.NotReady as blocked:
        state = blocked.state
    except Exception as error:
        state = _failed(run, error)
    # Also after an exception: what was submitted is never lost.
    await colour.wait(run.when_idle)
    if run.exit is not None:
        raise run.exit  # sys.exit in a task means the whole program, wherever the task ran
    if state is not None:
        return state
    try:
        return await _conclude(run, value, colour)
    except Exception as error:
        return _failed(run, error)  # a returned result could not be fetched


def _failed(run: FlowRun, error: Exception) -> State:
    """The state of a run that an ordinary exception ended, before, in or after its function."""
    run.raised = error
    if isinstance(error, errors.ParameterError) and not run.has_started:
        return states.failed(f"Invalid parameters: {error}", error)
    if not isinstance(error, errors.ClusterError) and (lost := run.runner.trouble()):
        lost.__cause__ = error
        error = lost
    if isinstance(error, errors.ClusterError):
        return _without_cluster(error)
    state = state_of(error, "Flow run")
    run.logger.error("Encountered exception during execution:", exc_info=error)
    return state


def _without_cluster(error: errors.ClusterError) -> State:
    return states.crashed(states.describe(error), error)


async def _inputs(
    args: tuple[Any, ...], kwargs: dict[str, Any], colour: Colour
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A subflow's arguments with the results of the parent's futures."""
    futures = inputs.futures_in((args, kwargs))
    for future in futures:
        if not future.is_settled:
            await colour.wait(future.add_done_callback)
    if futures:
        args, kwargs = await colour.call(lambda: inputs.values_of((args, kwargs)))
    return args, kwargs


async def _conclude(run: FlowRun, value: Any, colour: Colour) -> State:
    """The final state of a flow whose function returned `value`."""
    if value is None:
        # All runs count, also those that the flow function saw fail.
        return _by_tally(run.tally) if run.tally.total else states.completed()
    returned = Tally()

    def count(leaf: RunFuture[Any] | State, _: bool) -> Any:
        returned.add(leaf.state if isinstance(leaf, RunFuture) else leaf)
        return leaf

    for future in inputs.futures_in(value):
        if not future.is_settled:  # of a parent run
            await colour.wait(future.add_done_callback)
    replace(value, count)
    if not returned.total:
        return states.completed(value)
    state = _by_tally(returned)
    if state.is_completed():
        # Before the runner closes: results that workers keep go with them.
        state.data = await colour.call(lambda: inputs.values_of(value))
    return state


def _by_tally(tally: Tally) -> State:
    """The sum of states; where the cluster was the cause, that counts and not the number of its victims."""
    state = tally.state()
    if isinstance(state.data, errors.ClusterError) and not state.is_completed():
        return _without_cluster(state.data)
    return state


def _interrupted(run: FlowRun, error: BaseException) -> State:
    """The state of a run that something other than an ordinary exception broke off."""
    run.interrupt = error
    left = run.abandon("The flow run was interrupted.")
    if left:
        run.logger.warning("%d task runs had not ended; they are stopped, or left behind.", left)
    if isinstance(error, errors.Terminated):
        return states.cancelled("Flow run was stopped by SIGTERM.", error)
    if isinstance(error, KeyboardInterrupt):
        return states.cancelled("Flow run was interrupted (KeyboardInterrupt).", error)
    return state_of(error, "Flow run")
