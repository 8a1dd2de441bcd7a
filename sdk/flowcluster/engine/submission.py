"""Task runs that go through the task runner: ``.submit`` and ``.map``."""

from __future__ import annotations

import contextvars
import functools
import threading
import time
from typing import Any

from flowcluster import guarding, states
from flowcluster.engine import inputs
from flowcluster.engine.execution import Args, Kwargs, execute
from flowcluster.engine.run import FlowRun
from flowcluster.engine.task_run import TaskRun
from flowcluster.futures import RunFuture
from flowcluster.options import TaskSpec
from flowcluster.runners.base import TaskCall
from flowcluster.states import State
from flowcluster.waiting import when_all

# For all runs: it is held for two instructions.
_lock = threading.Lock()


def submit(run: FlowRun, spec: TaskSpec, args: Args, kwargs: Kwargs, wait_for: inputs.WaitFor) -> RunFuture[Any]:
    """Submit one run of a task to the flow run's task runner, once what it waits for has ended.

    The future settles as ``NotReady`` if a run among the arguments or in `wait_for` does not complete.

    Raises:
        ValueError: the template of the run's name does not fit.
    """
    task_run = SubmittedTaskRun(run, spec, args, kwargs, inputs.listed(wait_for))
    task_run.start()
    return task_run.future


class SubmittedTaskRun(TaskRun):
    """A task run that the task runner executes.

    Attributes:
        delay: seconds until the next execution, once it is known that there is one.
    """

    __slots__ = ("_caller", "_execution", "delay")

    def start(self) -> None:
        """Go, as soon as what the run waits for has ended."""
        run = self.run
        self.delay: float | None = None
        self._execution = 0
        waiting = self._to_wait_for()
        run.opened(self.future)
        if run.verbose:
            if run.runner.is_inline:
                run.logger.info("Executing '%s' immediately...", self.info.name)
            else:
                run.logger.info("Submitted task run '%s' for execution.", self.info.name)
        # The caller's context variables (annotations for the runner, for instance) hold whenever and in
        # whichever thread an execution begins.
        self._caller = contextvars.copy_context()
        if waiting:
            when_all([upstream.when_done for upstream in waiting], self._launch)
        else:
            self._launch()

    def _to_wait_for(self) -> list[RunFuture[Any]]:
        # What only orders runs is waited for here: as an input, its result would travel for nothing.
        order = inputs.futures_in(self.order) if self.order else []
        waiting = [upstream for upstream in order if not upstream.is_settled]
        for upstream in self.upstream:
            if not upstream.is_settled and (self.is_nameless or not self.run.chains(upstream)):
                waiting.append(upstream)
        return waiting

    def _launch(self) -> None:
        self.run.launch(self._begin)

    def _begin(self) -> None:
        # A copy: who calls may still be in the context, with the execution that this one follows.
        self._caller.copy().run(self._execute)
        while self.delay is not None and self.run.runner.is_inline:
            time.sleep(self.delay)
            self._caller.copy().run(self._execute)

    def _execute(self) -> None:
        run = self.run
        self.delay = None
        if self.future.is_settled:  # given up while it waited
            run.returned()
            return
        self._execution = execution = self._execution + 1
        try:
            call, chained = self._call()
            self.future.handle = run.runner.submit(call, functools.partial(self._ended, execution))
        except inputs.NotReady as blocked:
            self._give_back(blocked.state)
        except BaseException as error:
            # The run ends like one whose worker was lost, or the flow would wait for it for ever.
            self._give_back(states.crashed(f"Task run could not be submitted: {states.describe(error)}", error))
            if guarding.is_interrupt(error):
                raise
        else:
            for upstream in chained:
                upstream.when_done(functools.partial(self._upstream_ended, upstream, execution))

    def _call(self) -> tuple[TaskCall, list[RunFuture[Any]]]:
        """What to give to the runner, and the runs whose results it brings along by itself."""
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
        return TaskCall(execute, payload, self.key, self.info, args, kwargs, handles, started), chained

    def _upstream_ended(self, upstream: RunFuture[Any], execution: int) -> None:
        """What the runner waits for has ended otherwise than it expects: the engine knows what that means."""
        if upstream.state.is_completed() or self.future.is_settled:
            return
        with _lock:
            if execution != self._execution:  # it was given up already
                return
            self._execution += 1
        if (handle := self.future.handle) is not None:
            self.run.runner.cancel(handle)
        self._launch()

    def _ended(self, execution: int, state: State) -> None:
        """The runner's answer to one execution; from any thread, for which it takes no time. Never raises."""
        with _lock:
            is_current = execution == self._execution  # else it was given up
            self._execution += is_current
        self.run.returned()
        if not is_current:
            return
        if self.has_user_code(state):
            self.run.call_user_code(functools.partial(self._caller.copy().run, self._decide, state))
        else:
            self._decide(state)

    def _decide(self, state: State) -> None:
        """Execute the run again, or end it. Whatever code of the user does meanwhile, one of them happens."""
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

    def _give_back(self, state: State) -> None:
        self.run.returned()
        if self.has_user_code(state):
            self.run.call_user_code(functools.partial(self._caller.copy().run, self.end, state))
        else:
            self.end(state)
