"""What a flow is: its function, its task runner and its options, as values that do not change."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, TypedDict

from .. import checks, names
from ..functions import check_function, is_coroutine_function
from ..options import Delays, Hook
from ..runners.base import TaskRunner
from ..runners.concurrent import ConcurrentTaskRunner


class FlowOptions(TypedDict, total=False):
    """What ``@flow(...)`` and ``flow.with_options(...)`` take."""

    name: str | None
    """Name of the flow; by default the function's, with dashes."""
    task_runner: TaskRunner | type[TaskRunner] | None
    """What runs the tasks that the function submits: an instance, or a type to be used with its defaults;
    `ConcurrentTaskRunner` by default."""
    validate_parameters: bool | None
    """Whether parameters are converted to the types they are annotated with; they are by default."""
    tags: Iterable[str]
    """Words that are attached to each run of the flow, and to the task runs in it."""
    retries: int
    """How often the flow function is called again after a run that failed or crashed. The cluster stays,
    unless it was the cause."""
    retry_delay_seconds: Delays
    """Seconds before each retry: one number, one for each retry (the last one is repeated), or a function
    that gives such a list for the number of retries."""
    retry_jitter_factor: float | None
    """Lengthens each delay by a random part of up to so many times itself."""
    retry_condition: Hook | None
    """Called with (flow, run, state) after a failure; only if it gives true is there a retry."""
    timeout_seconds: float | None
    """Seconds after which a run whose function has not returned counts as failed (``TimedOut``)."""
    flow_run_name: str | Callable[[], str] | None
    """Name of each run: a template such as ``"load-{table}"`` over the parameters, or a function."""
    log_prints: bool | None
    """Whether ``print`` in the flow and its tasks goes to the run's log; by default only if the flow that
    calls this one has it so."""
    on_completion: Iterable[Hook]
    """Called with (flow, run, state) when a run has completed."""
    on_failure: Iterable[Hook]
    """Called with (flow, run, state) when a run has failed, after all retries."""
    on_crashed: Iterable[Hook]
    """Called with (flow, run, state) when a run was broken off from outside."""
    on_cancellation: Iterable[Hook]
    """Called with (flow, run, state) when a run was cancelled."""


@dataclasses.dataclass(frozen=True, eq=False)
class FlowSpec:
    """A flow's function and options, the latter as `FlowOptions` describes them, checked.

    Attributes:
        function: what the flow runs.
        name: name of the flow.
        is_async: whether the function is a coroutine function.
        runner: a task runner that is not open; each run opens its own duplicate.
        validate: whether parameters are converted to the types of the function's annotations.
        retry_delays: seconds before each retry; the last one is repeated.
        timeout: seconds that one execution may take.
        run_name: template of the runs' names, or a function that gives one.
    """

    function: Callable[..., Any]
    name: str
    is_async: bool
    runner: TaskRunner
    validate: bool = True
    tags: tuple[str, ...] = ()
    retries: int = 0
    retry_delays: tuple[float, ...] = (0.0,)
    retry_jitter_factor: float | None = None
    retry_condition: Hook | None = None
    timeout: float | None = None
    run_name: str | Callable[[], str] | None = None
    log_prints: bool | None = None
    on_completion: tuple[Hook, ...] = ()
    on_failure: tuple[Hook, ...] = ()
    on_crashed: tuple[Hook, ...] = ()
    on_cancellation: tuple[Hook, ...] = ()

    @staticmethod
    def of(function: Callable[..., Any], options: FlowOptions) -> FlowSpec:
        """The spec of a function. Raises TypeError or ValueError, naming the option, if it cannot be a flow."""
        check_function(function, "flow")
        spec = FlowSpec(
            function=function,
            name=names.flow_name(function),
            is_async=is_coroutine_function(function),
            runner=ConcurrentTaskRunner(),
        )
        return spec.having(options)

    def having(self, options: FlowOptions) -> FlowSpec:
        """The same flow with other options. Raises TypeError or ValueError, which name the option."""
        return dataclasses.replace(self, **_checked(self, options)) if options else self

    def hooks_for(self, kind: str) -> tuple[Hook, ...]:
        """The functions to be called after a run that ended in a state of this type."""
        hooks: tuple[Hook, ...] = {
            "COMPLETED": self.on_completion,
            "FAILED": self.on_failure,
            "CRASHED": self.on_crashed,
            "CANCELLED": self.on_cancellation,
        }.get(kind, ())
        return hooks


def _checked(spec: FlowSpec, options: FlowOptions) -> dict[str, Any]:
    """The fields of a spec that `options` says something about."""
    checks.known("flow", options, FlowOptions.__annotations__)
    given: dict[str, Any] = {**options}
    fields: dict[str, Any] = {}
    if "retry_delay_seconds" in given:
        retries = given.get("retries", spec.retries)
        fields["retry_delays"] = checks.delays("retry_delay_seconds", given.pop("retry_delay_seconds"), retries)
    for option, value in given.items():
        # None stands for what the flow has already.
        if value is not None or option not in ("name", "task_runner", "validate_parameters"):
            field, check = _OPTIONS[option]
            fields[field] = check(option, value)
    return fields


def _runner(option: str, value: Any) -> TaskRunner:
    runner = value() if isinstance(value, type) else value
    if not isinstance(runner, TaskRunner):
        raise TypeError(f"{option} must be a task runner or its type, not {value!r}.")
    return runner


#: For each option: the field of the spec, and the check that also converts the value.
_OPTIONS: dict[str, tuple[str, checks.Check]] = {
    "name": ("name", checks.text),
    "task_runner": ("runner", _runner),
    "validate_parameters": ("validate", checks.flag),
    "tags": ("tags", checks.tags),
    "retries": ("retries", checks.count),
    "retry_jitter_factor": ("retry_jitter_factor", checks.optional(checks.seconds)),
    "retry_condition": ("retry_condition", checks.optional(checks.function)),
    "timeout_seconds": ("timeout", checks.optional(checks.positive)),
    "flow_run_name": ("run_name", checks.optional(checks.name_template)),
    "log_prints": ("log_prints", checks.optional(checks.flag)),
    "on_completion": ("on_completion", checks.functions),
    "on_failure": ("on_failure", checks.functions),
    "on_crashed": ("on_crashed", checks.functions),
    "on_cancellation": ("on_cancellation", checks.functions),
}
