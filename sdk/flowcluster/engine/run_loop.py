"""The loop of one flow run: parameters, runner, function with retries, waiting for its task runs, final state."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from flowcluster import context, errors, states
from flowcluster._output import logs, prints
from flowcluster._output.tracebacks import first_time
from flowcluster._util import guarding, names
from flowcluster._util.portal import run_on_new_loop
from flowcluster._util.waiting import Blocking, Suspending, WaitStrategy, drive
from flowcluster.engine import hooks, inputs, parameters, progress_display, retries, run_names, timeouts
from flowcluster.engine.final_state import final_state, state_without_cluster
from flowcluster.engine.flow_run import FlowRun
from flowcluster.engine.flow_spec import FlowSpec
from flowcluster.engine.outcome import outcome_of
from flowcluster.engine.sigterm import Termination, sigterm_interrupts
from flowcluster.engine.task_execution import Args, Kwargs, state_of
from flowcluster.runners import child_processes
from flowcluster.runners.base import TaskRunner
from flowcluster.states import State

#: Functions that are called with each outermost flow run when it begins.
on_begin: list[Callable[[FlowRun], None]] = []
#: For tests: the task runner that all flows of this process use in place of their own.
replacement: TaskRunner | None = None


def run_blocking(
    spec: FlowSpec, args: Args, kwargs: Kwargs, run_name: str | None = None, wait_for: inputs.WaitFor = ()
) -> FlowRun:
    """Run a flow, sync or async, to its end, and return its record. Never raises what the flow raised."""
    if spec.is_async:
        record = run_on_new_loop(run(spec, args, kwargs, Suspending(), run_name, wait_for))
        # The loop is the flow's own: a cancellation means Ctrl-C.
        if type(record.interrupt).__name__ == "CancelledError":
            record.interrupt = KeyboardInterrupt()
        if type(record.late_interrupt).__name__ == "CancelledError":
            record.late_interrupt = KeyboardInterrupt()
        return record
    return drive(run(spec, args, kwargs, Blocking(), run_name, wait_for))


async def run_async(
    spec: FlowSpec, args: Args, kwargs: Kwargs, run_name: str | None = None, wait_for: inputs.WaitFor = ()
) -> FlowRun:
    """Run an async flow to its end on the running event loop. Never raises what the flow raised."""
    return await run(spec, args, kwargs, Suspending(), run_name, wait_for)


async def run(
    spec: FlowSpec, args: Args, kwargs: Kwargs, strategy: WaitStrategy, run_name: str | None, wait_for: inputs.WaitFor
) -> FlowRun:
    """Run a flow to its end. Sync and async flows differ only in `strategy`."""
    logs.configure()
    parent = context.flow_run()
    assert parent is None or isinstance(parent, FlowRun)
    if run_name:
        spec = dataclasses.replace(spec, run_name=None)  # the template does not replace this name
    run = FlowRun(run_name or names.run_name(), spec.name, spec.is_async, _new_runner(spec), parent, spec.log_prints)
    caller = context.current.get()
    if caller is not None and caller.topic is not None:
        run.send_logs_to(caller.topic)
    progress_display.began(run)
    if parent is None:
        for callback in on_begin:
            callback(run)
    token = context.current.set(run)
    tags = context.tags_here.set(context.united(run.tags, spec.tags))
    run.tags = context.tags_here.get()
    prints.install(run.log_prints)
    child_processes.prepare()
    try:
        with nullcontext(Termination()) if parent else sigterm_interrupts(on_loop=spec.is_async) as termination:
            run.state = await _guarded(run, spec, args, kwargs, strategy, wait_for, termination)
        if isinstance(run.interrupt, GeneratorExit):
            strategy = Blocking()
        if called := spec.hooks_for(run.state.type):
            await strategy.run_sync(lambda: hooks.call_hooks(called, spec, run, run.state, run.logger))
    except BaseException as error:
        if not run.state.is_final():
            raise
        run.late_interrupt = error
    finally:
        guarding.quietly(prints.ended, run)
        context.tags_here.reset(tags)
        context.current.reset(token)
        progress_display.ended(run)
    if parent:
        parent.count(run.state)
    run.logger.log(logging.INFO if run.state.is_completed() else logging.ERROR, "Finished in state %s", str(run.state))
    return run


async def _guarded(
    run: FlowRun,
    spec: FlowSpec,
    args: Args,
    kwargs: Kwargs,
    strategy: WaitStrategy,
    wait_for: inputs.WaitFor,
    termination: Termination,
) -> State:
    """Execute the run and close the runner in any case; return the final state."""
    try:
        state = await _prepared(run, spec, args, kwargs, strategy, wait_for)
    except BaseException as error:
        state = _interrupted(run, errors.Terminated() if termination.received else error)
    # A coroutine that is being closed cannot suspend any more.
    if isinstance(run.interrupt, GeneratorExit):
        strategy = Blocking()
    elif run.interrupt is not None:
        await _user_code_ended(run, strategy)
    run.state = state
    run.runner.outcome = functools.partial(outcome_of, run)
    await _close(run, strategy, cancel=run.interrupt is not None or state.name == "TimedOut")
    return state


async def _user_code_ended(run: FlowRun, strategy: WaitStrategy) -> None:
    """Wait for callbacks and hooks of task runs. After the end of the process, no thread would call them.

    A second interrupt ends the wait.
    """
    try:
        await strategy.wait(run.user_calls.when_ended)
    except BaseException as error:
        run.interrupt = error
        run.logger.warning("A second interrupt ended the wait for callbacks and hooks of task runs.")


async def _close(run: FlowRun, strategy: WaitStrategy, cancel: bool) -> None:
    try:
        await strategy.run_sync(lambda: run.runner.close(cancel=cancel))
    except Exception:
        # The flow's outcome does not change. The log has what could not be closed.
        run.logger.exception("'%s' could not be closed:", run.runner.name)


async def _prepared(
    run: FlowRun, spec: FlowSpec, args: Args, kwargs: Kwargs, strategy: WaitStrategy, wait_for: inputs.WaitFor
) -> State:
    """Bind the parameters, name the run, and execute it."""
    problem: Exception | None = None
    try:
        args, kwargs = await _inputs(args, kwargs, strategy, wait_for)
        bound = parameters.bind(spec.name, spec.function, args, kwargs, convert=spec.validate)
        args, kwargs = bound.args, bound.kwargs
        run.parameters = parameters.with_defaults(bound)
        if spec.run_name is not None:
            run.rename(run_names.render("flow_run_name", spec.run_name, run.parameters))
    except Exception as error:
        problem = error
    _announce(run)
    if isinstance(problem, inputs.NotReady):
        return problem.state
    if problem is not None:
        return _failed(run, problem)
    return await _with_retries(run, spec, args, kwargs, strategy)


def _new_runner(spec: FlowSpec) -> TaskRunner:
    return (replacement or spec.runner).duplicate()


def _announce(run: FlowRun) -> None:
    if run.parent:
        run.parent.logger.info("Created subflow run '%s' for flow '%s'", run.name, run.flow_name)
        return
    created = "Created flow run '%s' for flow '%s'"
    guarding.quietly(logs.engine.info, created, run.name, run.flow_name, extra=run.extra)
    run.logger.info("Starting '%s'; submitted tasks will be run %s...", run.runner.name, run.runner.concurrency)


async def _with_retries(run: FlowRun, spec: FlowSpec, args: Args, kwargs: Kwargs, strategy: WaitStrategy) -> State:
    while True:
        state = await _call_function(run, spec, args, kwargs, strategy)
        if run.run_count > spec.retries or run.exit is not None:
            return state
        lost = isinstance(state.data, errors.ClusterError)
        if not lost and not retries.is_retriable(state):
            return state
        delay = await retries.retry_delay_async(spec, run.run_count, run, state, run.logger, strategy)
        if delay is None:
            return state
        run.logger.warning(
            "Ended in state %s; retry %d of %d starts in %g s.", state, run.run_count, spec.retries, delay
        )
        if lost:
            # The next attempt needs another cluster.
            await _close(run, strategy, cancel=True)
            run.runner = _new_runner(spec)
        await strategy.sleep(delay)
        run.begin_again()


async def _call_function(run: FlowRun, spec: FlowSpec, args: Args, kwargs: Kwargs, strategy: WaitStrategy) -> State:
    """Call the flow function once, and wait for what it submitted."""
    value: Any = None
    state: State | None = None
    try:
        if not run.runner.is_open:
            await strategy.run_sync(run.runner.open)
        run.fit_in_flight_limit()
        run.has_started = True
        value = await timeouts.call_with_limit(spec, run.name, args, kwargs)
    except Exception as error:
        state = _failed(run, error.error if isinstance(error, timeouts.Stopped) else error)
        if state.name == "TimedOut":
            run.abandon("The flow run that submitted it took too long.")
    # Also after an exception: the run ends after all its task runs.
    await strategy.wait(run.when_idle)
    if run.exit is not None:
        raise run.exit  # sys.exit in a task ends the program, wherever the task ran
    if state is not None:
        return state
    try:
        return await final_state(run, value, strategy)
    except Exception as error:
        return _failed(run, error)  # a returned result could not be fetched


def _failed(run: FlowRun, error: Exception) -> State:
    """Return the state of a run that an ordinary exception ended before, in or after its function."""
    run.raised = error
    if isinstance(error, errors.ParameterError) and not run.has_started:
        return states.failed(f"Invalid parameters: {error}", error)
    if not isinstance(error, errors.ClusterError) and (lost := run.runner.trouble()):
        lost.__cause__ = error
        error = lost
    if isinstance(error, errors.ClusterError):
        return state_without_cluster(error)
    state = state_of(error, "Flow run", run.name)
    if first_time(error):
        run.logger.error("Encountered exception during execution:", exc_info=error)
    else:  # the exception of a task or subflow, which the flow function did not catch
        run.logger.error("Encountered exception during execution, as logged above: %s", states.describe(error))
    return state


async def _inputs(args: Args, kwargs: Kwargs, strategy: WaitStrategy, wait_for: inputs.WaitFor) -> tuple[Args, Kwargs]:
    """Return a subflow's arguments with the results of the parent's futures. Raises `NotReady`."""
    order = inputs.listed(wait_for)
    futures = inputs.futures_in((args, kwargs))
    await inputs.wait_until_ended([*futures, *inputs.futures_in(order)], strategy)
    inputs.check(order)
    if futures:
        args, kwargs = await strategy.run_sync(lambda: inputs.values_of((args, kwargs)))
    return args, kwargs


def _interrupted(run: FlowRun, error: BaseException) -> State:
    """Return the state of a run that an interrupt ended, such as Ctrl-C, SIGTERM or ``sys.exit``."""
    run.interrupt = error
    left = run.abandon("The flow run was interrupted.")
    if left:
        run.logger.warning("%d task runs had not ended. The task runner stops those that it can stop.", left)
    if isinstance(error, errors.Terminated):
        return states.cancelled("Flow run was stopped by SIGTERM.", error)
    if isinstance(error, KeyboardInterrupt):
        return states.cancelled("Flow run was interrupted (KeyboardInterrupt).", error)
    return state_of(error, "Flow run")
