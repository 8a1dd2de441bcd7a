"""What a flow is: its function, its task runner and its options, as values that do not change."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from flowcluster._util import names
from flowcluster._util.functions import check_function, is_coroutine_function
from flowcluster.engine import option_checks
from flowcluster.engine.options import COMMON, Hook, RunOptions, Table, fields_of
from flowcluster.engine.run_spec import RunSpec
from flowcluster.runners.base import TaskRunner
from flowcluster.runners.concurrent import ConcurrentTaskRunner
from flowcluster.states import StateType


class FlowOptions(RunOptions, total=False):
    """What ``@flow(...)`` and ``flow.with_options(...)`` take."""

    task_runner: TaskRunner | type[TaskRunner] | None
    """The task runner for the tasks that the function submits: an instance, or a class to use with its defaults.
    By default `ConcurrentTaskRunner`."""
    validate_parameters: bool | None
    """Whether parameters are converted to the types they are annotated with; they are by default."""
    flow_run_name: str | Callable[[], str] | None
    """Name of each run: a template such as ``"load-{table}"`` over the parameters, or a function."""
    on_crashed: Iterable[Hook]
    """Called with (flow, run, state) when a run has crashed: it called ``sys.exit``, or its cluster was lost."""
    on_cancellation: Iterable[Hook]
    """Called with (flow, run, state) when a run was cancelled."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class FlowSpec(RunSpec):
    """A flow's function and options, the latter as `FlowOptions` describes them, checked.

    Attributes:
        runner: a task runner that is not open; each run opens its own duplicate.
        validate: whether parameters are converted to the types of the function's annotations.
    """

    runner: TaskRunner
    validate: bool = True
    on_crashed: tuple[Hook, ...] = ()
    on_cancellation: tuple[Hook, ...] = ()

    @staticmethod
    def of(function: Callable[..., Any], options: FlowOptions) -> FlowSpec:
        """Return the spec of a function.

        Raises:
            TypeError: the function cannot be a flow, or an option has the wrong type; the message names it.
            ValueError: an option has a wrong value; the message names it.
        """
        check_function(function, "flow")
        spec = FlowSpec(
            function=function,
            name=names.flow_name(function),
            is_async=is_coroutine_function(function),
            runner=ConcurrentTaskRunner(),
        )
        return spec.having(options)

    def having(self, options: FlowOptions) -> FlowSpec:
        """Return the flow with other options. Raises TypeError or ValueError, which name the option."""
        if not options:
            return self
        return dataclasses.replace(self, **fields_of("flow", options, _OPTIONS, self.retries))

    def hooks_for(self, kind: StateType) -> tuple[Hook, ...]:
        """Return the hooks for a run that ended in a state of this type."""
        return {
            StateType.COMPLETED: self.on_completion,
            StateType.FAILED: self.on_failure,
            StateType.CRASHED: self.on_crashed,
            StateType.CANCELLED: self.on_cancellation,
        }.get(kind, ())


def _runner(option: str, value: Any) -> TaskRunner:
    runner = value() if isinstance(value, type) else value
    if not isinstance(runner, TaskRunner):
        raise TypeError(f"{option} must be a task runner or its type, not {value!r}.")
    return runner


_OPTIONS: Table = {
    **COMMON,
    "task_runner": ("runner", _runner),
    "validate_parameters": ("validate", option_checks.flag),
    "flow_run_name": ("run_name", option_checks.optional(option_checks.name_template)),
    "on_crashed": ("on_crashed", option_checks.functions),
    "on_cancellation": ("on_cancellation", option_checks.functions),
}
