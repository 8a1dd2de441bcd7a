"""One task run, called directly or submitted: its name, its retries and its end."""

from __future__ import annotations

from typing import Any

from flowcluster import context, states
from flowcluster._output import logs
from flowcluster._util import guarding
from flowcluster.context import RunInfo
from flowcluster.engine import hooks, inputs, parameters, retries, run_names
from flowcluster.engine.flow_run import FlowRun
from flowcluster.engine.task_execution import Args, Kwargs
from flowcluster.engine.task_spec import TaskSpec
from flowcluster.futures import AsyncTaskFuture, RunFuture, TaskFuture, nesting
from flowcluster.states import State, StateType


class TaskRun:
    """The engine's record of a task run until its end.

    Attributes:
        run: the flow run that it belongs to.
        spec: the task.
        args, kwargs: the arguments as the caller gave them, with copies of containers of futures.
        order: what else must complete before the run.
        upstream: the futures among the arguments.
        is_plain: whether nothing in the arguments has to be replaced.
        key: unique in the flow run.
        info: name, number of the execution, tags.
        retries: how many executions can follow the first.
        future: the caller's handle.
        is_nameless: whether its name depends on results that do not exist yet.
    """

    __slots__ = (
        *("args", "future", "info", "is_nameless", "is_plain", "key", "kwargs"),
        *("order", "retries", "run", "spec", "upstream"),
    )

    def __init__(self, run: FlowRun, spec: TaskSpec, args: Args, kwargs: Kwargs, order: list[Any]) -> None:
        self.run = run
        self.spec = spec
        self.args = args
        self.kwargs = kwargs
        self.order = order
        self.upstream, self.is_plain = inputs.find_futures_in_call(args, kwargs)
        if self.upstream:
            # The caller can add futures to a list later, even the future of this run. The run does not wait for them.
            self.args, self.kwargs = args, kwargs = nesting.snapshot((args, kwargs))
        self.key = name = run.next_name(spec)
        self.is_nameless = False
        if spec.run_name is not None:
            self.is_nameless = self._name_needs_results()
            if not self.is_nameless:
                name = self._rendered_name(args, kwargs)
        tags = context.tags_here.get()
        self.info = RunInfo(name, 1, context.united(spec.tags, tags))
        self.retries = max(spec.retries, run.runner.retries())
        self.future: RunFuture[Any] = (AsyncTaskFuture if spec.is_async and run.is_async else TaskFuture)(name, run)
        self.future.is_firm = not self.retries
        if run.verbose:
            run.logger.info("Created task run '%s' for task '%s'", name, spec.name)

    def _name_needs_results(self) -> bool:
        assert self.spec.run_name is not None
        used = run_names.used_by(self.spec.run_name)
        if not used or not self.upstream:
            return False
        given = parameters.by_name(self.spec.function, self.args, self.kwargs)
        return bool(inputs.futures_in([given.get(name) for name in used]))

    def _rendered_name(self, args: Args, kwargs: Kwargs) -> str:
        assert self.spec.run_name is not None
        values = parameters.by_name(self.spec.function, args, kwargs) if run_names.used_by(self.spec.run_name) else {}
        return run_names.render("task_run_name", self.spec.run_name, values)

    def take_name(self, args: Args, kwargs: Kwargs) -> None:
        """Name the run by its arguments, which are known now. Raises ValueError if that is impossible."""
        if self.is_nameless:
            self.is_nameless = False
            self.future.name = name = self._rendered_name(args, kwargs)
            self.info = self.info._replace(name=name)

    def next_delay(self, state: State) -> float | None:
        """Return the seconds until the next execution after one that ended in `state`; None if that state is final.

        If there is a next execution, count and log it.
        """
        info, future = self.info, self.future
        if info.attempt > self.retries or future.is_settled or not retries.is_retriable(state):
            return None
        delay = retries.retry_delay(self.spec, info.attempt, info, state, self.run.logger)
        if delay is None:
            return None
        # The next execution has a handle of its own.
        future.handle = None
        future.update_state(states.awaiting_retry(info.attempt, self.retries, delay))
        guarding.quietly(
            logs.task_runs.warning,
            "Ended in state %s; retry %d of %d starts in %g s.",
            state,
            info.attempt,
            self.retries,
            delay,
            extra=self.run.names_of(info.name),
        )
        self.info = info._replace(attempt=info.attempt + 1)
        return delay

    def has_user_code(self, state: State) -> bool:
        """Return whether `next_delay` or `end` calls code of the user for this state."""
        spec = self.spec
        if state.type is StateType.COMPLETED:
            return bool(spec.on_completion)
        return spec.retry_condition is not None or bool(spec.on_failure)

    def end(self, state: State) -> None:
        """Call the hooks, then end the run in `state`. Raises only what a signal raised."""
        spec = self.spec
        try:
            if self.future.is_settled:
                return  # it was cancelled: it does not end in this state
            if spec.on_completion and state.is_completed():
                hooks.call_hooks(spec.on_completion, spec, self.info, state, self.run.logger)
            if spec.on_failure and (state.is_failed() or state.is_crashed()):
                hooks.call_hooks(spec.on_failure, spec, self.info, state, self.run.logger)
        finally:
            self.run.finish(self.future, state)
