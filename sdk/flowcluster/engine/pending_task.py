"""Submission of task runs to the task runner: ``.submit`` and ``.map``."""

from __future__ import annotations

import contextvars
import functools
import threading
import time
from typing import Any

from flowcluster import states
from flowcluster._util import guarding
from flowcluster._util.waiting import when_all
from flowcluster.engine import inputs
from flowcluster.engine.flow_run import FlowRun
from flowcluster.engine.task_execution import Args, Kwargs, execute_task
from flowcluster.engine.task_run import TaskRun
from flowcluster.engine.task_spec import TaskSpec
from flowcluster.futures import RunFuture
from flowcluster.runners.base import TaskCall
from flowcluster.states import State

# For all runs: it is held for two instructions.
_lock = threading.Lock()


def submit(run: FlowRun, spec: TaskSpec, args: Args, kwargs: Kwargs, wait_for: inputs.WaitFor) -> RunFuture[Any]:
    """Submit one run of a task to the flow run's task runner, when what it waits for has ended.

    The future settles as ``NotReady`` if a run among the arguments or in `wait_for` does not complete.

    Raises:
        ValueError: the template of the run's name does not fit.
    """
    task_run = PendingTask(run, spec, args, kwargs, inputs.listed(wait_for))
    task_run.start()
    return task_run.future


class PendingTask(TaskRun):
    """A task run that the task runner executes.

    Attributes:
        delay: seconds until the next execution; None without a next one.
    """

    __slots__ = ("_caller", "_execution", "delay")

    def start(self) -> None:
        """Launch the run when what it waits for has ended."""
        run = self.run
        self.delay: float | None = None
        self._execution = 0
        waiting = self._to_wait_for()
        run.track(self.future)
        if run.verbose:
            if run.runner.is_inline:
                run.logger.info("Executing '%s' immediately...", self.info.name)
            else:
                run.logger.info("Submitted task run '%s' for execution.", self.info.name)
        # Each execution has the caller's context variables, such as annotations for the runner, whenever and in
        # whatever thread it begins.
        self._caller = contextvars.copy_context()
        if waiting:
            when_all([upstream.when_done for upstream in waiting], self._launch)
        else:
            self._launch()

    def _to_wait_for(self) -> list[RunFuture[Any]]:
        # Runs in `wait_for` are awaited here: as inputs, their results would be sent without need.
        order = inputs.futures_in(self.order) if self.order else []
        waiting = [upstream for upstream in order if not upstream.is_settled]
        for upstream in self.upstream:
            if not upstream.is_settled and (self.is_nameless or not self.run.chains(upstream)):
                waiting.append(upstream)
        return waiting

    def _launch(self) -> None:
        self.run.launch(self._begin)

    def _begin(self) -> None:
        # A copy: the caller can still be in the context, with the previous execution.
        self._caller.copy().run(self._submit_execution)
        while self.delay is not None and self.run.runner.is_inline:
            time.sleep(self.delay)
            self._caller.copy().run(self._submit_execution)

    def _submit_execution(self) -> None:
        run = self.run
        self.delay = None
        if self.future.is_settled:  # cancelled while it waited
            run.release_slot()
            return
        self._execution = execution = self._execution + 1
        try:
            call, chained = self._call()
            self.future.handle = run.runner.submit(call, functools.partial(self._ended, execution))
        except inputs.NotReady as blocked:
            self._end_unsubmitted(blocked.state)
        except BaseException as error:
            # The run ends like a run that lost its worker. Otherwise the flow would wait for it forever.
            self._end_unsubmitted(states.crashed(f"Task run could not be submitted: {states.describe(error)}", error))
            if guarding.is_interrupt(error):
                raise
        else:
            for upstream in chained:
                upstream.when_done(functools.partial(self._upstream_ended, upstream, execution))

    def _call(self) -> tuple[TaskCall, list[RunFuture[Any]]]:
        """Return the call for the runner, and the upstream runs for which the runner itself waits."""
        run, args, kwargs = self.run, self.args, self.kwargs
        chained: list[RunFuture[Any]] = []
        if self.order:
            inputs.check(self.order)
        if self.is_nameless:
            args, kwargs = inputs.values_of((args, kwargs))
            self.take_name(args, kwargs)
        elif not self.is_plain:
            chained = [upstream for upstream in self.upstream if run.chains(upstream)]
            places = {upstream: place for place, upstream in enumerate(chained)}
            args, kwargs = inputs.slots_for((args, kwargs), places)
        handles = [upstream.handle for upstream in chained]
        payload, started = run.payload_of(self.spec), self.future.started
        return TaskCall(execute_task, payload, self.key, self.info, args, kwargs, handles, started), chained

    def _upstream_ended(self, upstream: RunFuture[Any], execution: int) -> None:
        """Handle an upstream run that did not complete, for which the runner waits: the engine decides what follows."""
        if upstream.state.is_completed() or self.future.is_settled:
            return
        with _lock:
            if execution != self._execution:  # it has ended, or was superseded
                return
            self._execution += 1
        if (handle := self.future.handle) is not None:
            self.run.runner.cancel(handle)
        self._launch()

    def _ended(self, execution: int, state: State) -> None:
        """Handle the end of one execution, which the runner reports from any thread. Never raises, never blocks."""
        with _lock:
            is_current = execution == self._execution  # else it was superseded
            self._execution += is_current
        self.run.release_slot()
        if not is_current:
            return
        if self.has_user_code(state):
            self.run.call_user_code(functools.partial(self._caller.copy().run, self._decide, state))
        else:
            self._decide(state)

    def _decide(self, state: State) -> None:
        """Execute the run again, or end it. One of these happens, whatever code of the user does."""
        try:
            self.delay = self.next_delay(state)
            if self.delay is not None:
                if not self.run.runner.is_inline:
                    self.run.runner.portal.later(self.delay, self._launch)
                return
        except BaseException as error:
            self.end(state)
            if guarding.is_interrupt(error):
                raise
            guarding.quietly(self.run.logger.error, "'%s' is not tried again:", self.info.name, exc_info=error)
            return
        self.end(state)

    def _end_unsubmitted(self, state: State) -> None:
        self.run.release_slot()
        if self.has_user_code(state):
            self.run.call_user_code(functools.partial(self._caller.copy().run, self.end, state))
        else:
            self.end(state)
