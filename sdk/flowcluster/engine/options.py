"""The options that tasks and flows have in common, and how options become the fields of a spec."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict

from flowcluster.engine import option_checks

Hook = Callable[[Any, Any, Any], object]
Delays = float | Sequence[float] | Callable[[int], Sequence[float]]


class RunOptions(TypedDict, total=False):
    """The options that tasks and flows have in common. In them, "what" is the task or the flow, "run" is its run."""

    name: str | None
    """Its name; by default the function's, with dashes for a flow."""
    description: str | None
    """What it does, for people; by default the function's docstring."""
    version: str | None
    """A text by which people distinguish its versions."""
    tags: Iterable[str]
    """Words that are attached to each run. The words of a flow are also attached to the task runs in it."""
    retries: int
    """Number of times that a run that failed or crashed is executed again. A flow keeps its cluster for the retry,
    unless the cluster was the cause."""
    retry_delay_seconds: Delays
    """Seconds before each retry: one number, one for each retry (the last one is repeated), or a function
    that returns such a list for the number of retries."""
    retry_jitter_factor: float | None
    """Lengthens each delay by a random part, of up to this number times the delay."""
    retry_condition: Hook | None
    """Called with (what, run, state) after a failure; a retry follows only if it returns true. The run has its
    `name`, `run_count` and `tags`, as for the hooks below."""
    timeout_seconds: float | None
    """Seconds after which an execution that has not ended counts as failed (``TimedOut``)."""
    log_prints: bool | None
    """Whether ``print`` goes to the run's log. By default, a task and a subflow do as the flow that calls them, and an
    outermost flow does not."""
    on_completion: Iterable[Hook]
    """Called in the flow's process with (what, run, state) when a run has completed."""
    on_failure: Iterable[Hook]
    """Called in the flow's process with (what, run, state) when a run has failed, after all retries; for a
    task also when it has crashed."""


#: For an option: the field of the spec, and the check that also converts the value.
Table = dict[str, tuple[str, option_checks.Check]]

COMMON: Table = {
    "name": ("name", option_checks.text),
    "description": ("description", option_checks.optional(option_checks.description)),
    "version": ("version", option_checks.optional(option_checks.description)),
    "tags": ("tags", option_checks.tags),
    "retries": ("retries", option_checks.count),
    "retry_jitter_factor": ("retry_jitter_factor", option_checks.optional(option_checks.seconds)),
    "retry_condition": ("retry_condition", option_checks.optional(option_checks.function)),
    "timeout_seconds": ("timeout", option_checks.optional(option_checks.positive)),
    "log_prints": ("log_prints", option_checks.optional(option_checks.flag)),
    "on_completion": ("on_completion", option_checks.functions),
    "on_failure": ("on_failure", option_checks.functions),
}

#: Options for which None keeps the value that the task or flow has.
_KEPT = ("name", "task_runner", "validate_parameters")


def fields_of(what: str, options: Mapping[str, Any], table: Table, retries: int) -> dict[str, Any]:
    """Return the fields of a spec that `options` set.

    Args:
        what: "task" or "flow", for error messages.
        options: as the user gave them.
        table: the options that exist.
        retries: the retries that the task or flow has so far.

    Raises:
        TypeError: an option does not exist or has a value of the wrong type; the message names it.
        ValueError: an option has a wrong value; the message names it.
    """
    delays = "retry_delay_seconds"
    option_checks.known(what, options, (*table, delays))
    fields: dict[str, Any] = {}
    for option, value in options.items():
        if option == delays:
            fields["retry_delays"] = option_checks.delays(delays, value, options.get("retries", retries))
        elif value is not None or option not in _KEPT:
            field, check = table[option]
            fields[field] = check(option, value)
    return fields
