"""What a task is: its function and its options, as values that do not change.

They are apart from `Task`, which is made for callers, because the engine and the workers need no more
than this.
"""

from __future__ import annotations

import dataclasses
import datetime
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar

from flowcluster import checks, names
from flowcluster.functions import check_function, import_path, is_coroutine_function, look_up, undecorated

T = TypeVar("T")

Hook = Callable[[Any, Any, Any], object]
Delays = float | Sequence[float] | Callable[[int], Sequence[float]]


class RunOptions(TypedDict, total=False):
    """What tasks and flows have in common; "what" is the task or the flow itself, "run" the run of it."""

    name: str | None
    """Its name; by default the function's, with dashes for a flow."""
    description: str | None
    """What it does, for people; by default the function's docstring."""
    version: str | None
    """A text by which people distinguish its editions."""
    tags: Iterable[str]
    """Words that are attached to each run; those of a flow also to the task runs in it."""
    retries: int
    """How often a run that failed or crashed is executed again. For a flow the cluster stays, unless it was
    the cause."""
    retry_delay_seconds: Delays
    """Seconds before each retry: one number, one for each retry (the last one is repeated), or a function
    that gives such a list for the number of retries."""
    retry_jitter_factor: float | None
    """Lengthens each delay by a random part of up to so many times itself."""
    retry_condition: Hook | None
    """Called with (what, run, state) after a failure; only if it gives true is there a retry. The run has its
    `name`, `run_count` and `tags`, as for the hooks below."""
    timeout_seconds: float | None
    """Seconds after which an execution that has not ended counts as failed (``TimedOut``)."""
    log_prints: bool | None
    """Whether ``print`` goes to the run's log; by default as in the flow that calls it, and otherwise not."""
    on_completion: Iterable[Hook]
    """Called in the flow's process with (what, run, state) when a run has completed."""
    on_failure: Iterable[Hook]
    """Called in the flow's process with (what, run, state) when a run has failed, after all retries; for a
    task also when it has crashed."""


class TaskOptions(RunOptions, total=False):
    """What ``@task(...)`` and ``task.with_options(...)`` take."""

    task_run_name: str | Callable[[], str] | None
    """Name of each run: a template such as ``"load-{table}"`` over the arguments, or a function."""
    cache_key_fn: Callable[[Any, dict[str, Any]], str | None] | None
    """Called with (run, arguments by name): runs with the same key share one result. None: not this run."""
    cache_expiration: datetime.timedelta | float | None
    """How long (seconds) a cached result may be used; for ever by default."""
    refresh_cache: bool
    """Execute anew and store the new result, even if there is a cached one."""
    result_storage: str | None
    """Where cached results are kept: a directory or any fsspec URL that the workers can reach as well.
    By default what ``FLOWCLUSTER_RESULT_STORAGE`` says, else ``~/.flowcluster/results``."""
    resources: Mapping[str, float] | None
    """What an execution takes up of its worker, such as ``{"GPU": 1}``; local runners have none to offer."""


#: For an option: the field of the spec, and the check that also converts the value.
Table = dict[str, tuple[str, checks.Check]]

COMMON: Table = {
    "name": ("name", checks.text),
    "description": ("description", checks.optional(checks.description)),
    "version": ("version", checks.optional(checks.description)),
    "tags": ("tags", checks.tags),
    "retries": ("retries", checks.count),
    "retry_jitter_factor": ("retry_jitter_factor", checks.optional(checks.seconds)),
    "retry_condition": ("retry_condition", checks.optional(checks.function)),
    "timeout_seconds": ("timeout", checks.optional(checks.positive)),
    "log_prints": ("log_prints", checks.optional(checks.flag)),
    "on_completion": ("on_completion", checks.functions),
    "on_failure": ("on_failure", checks.functions),
}

#: Options for which None means what the task or flow has already.
_KEPT = ("name", "task_runner", "validate_parameters")


def fields_of(what: str, options: Mapping[str, Any], table: Table, retries: int) -> dict[str, Any]:
    """The fields of a spec that `options` of a task or flow say something about.

    `retries` are those that it has so far. Raises TypeError or ValueError, which name the option.
    """
    delays = "retry_delay_seconds"
    checks.known(what, options, (*table, delays))
    fields: dict[str, Any] = {}
    for option, value in options.items():
        if option == delays:
            fields["retry_delays"] = checks.delays(delays, value, options.get("retries", retries))
        elif value is not None or option not in _KEPT:
            field, check = table[option]
            fields[field] = check(option, value)
    return fields


# What users know a spec as: the Task or Flow that was made of it. Weak, as one may be made for one call.
_things: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()

#: What makes a Task or Flow of a spec of that class.
_makers: dict[type, Callable[[Any], Any]] = {}


def is_maker(spec: type) -> Callable[[type[T]], type[T]]:
    """Decorate the class that is made of specs of this class."""

    def add(cls: type[T]) -> type[T]:
        _makers[spec] = cls
        return cls

    return add


def known_as(spec: Any, thing: Any) -> None:
    """Note the Task or Flow that was made of a spec; the first one counts."""
    if spec not in _things:
        _things[spec] = weakref.ref(thing)


def thing_of(spec: Any) -> Any:
    """The Task or Flow that has the spec, for functions of users; a new one if there is none any more."""
    known = _things.get(spec)
    thing = None if known is None else known()
    return _makers[type(spec)](spec) if thing is None and type(spec) in _makers else thing or spec


@dataclasses.dataclass(frozen=True, eq=False)
class TaskSpec:
    """A task's function and options, the latter as `TaskOptions` describes them, checked.

    Attributes:
        function: what the task runs.
        name: name of the task.
        key: eight digits that tell tasks of the same name apart in the names of their runs.
        is_async: whether the function is a coroutine function.
        retry_delays: seconds before each retry; the last one is repeated.
        timeout: seconds that one execution may take.
        run_name: template of the runs' names, or a function that gives one.
        cache_lifetime: seconds for which a cached result may be used.
    """

    function: Callable[..., Any]
    name: str
    key: str
    is_async: bool
    tags: tuple[str, ...] = ()
    retries: int = 0
    retry_delays: tuple[float, ...] = (0.0,)
    retry_jitter_factor: float | None = None
    retry_condition: Hook | None = None
    timeout: float | None = None
    run_name: str | Callable[[], str] | None = None
    cache_key_fn: Callable[[Any, dict[str, Any]], str | None] | None = None
    cache_lifetime: float | None = None
    refresh_cache: bool = False
    result_storage: str | None = None
    on_completion: tuple[Hook, ...] = ()
    on_failure: tuple[Hook, ...] = ()
    resources: Mapping[str, float] | None = None
    log_prints: bool | None = None
    description: str | None = None
    version: str | None = None

    @staticmethod
    def of(function: Callable[..., Any], options: TaskOptions) -> TaskSpec:
        """The spec of a function. Raises TypeError or ValueError, naming the option, if it cannot be a task."""
        check_function(function, "task")
        spec = TaskSpec(
            function=function,
            name=names.function_name(function),
            key=names.task_key(function),
            is_async=is_coroutine_function(function),
        )
        return spec.having(options)

    def having(self, options: TaskOptions) -> TaskSpec:
        """The same task with other options. Raises TypeError or ValueError, which name the option."""
        if not options:
            return self
        return dataclasses.replace(self, **fields_of("task", options, _OPTIONS, self.retries))

    def payloads(self) -> weakref.WeakKeyDictionary[Any, Any]:
        """Return the payloads of the task, by the execution of a flow run. They exist as long as the task does."""
        attributes: dict[str, Any] = vars(self)
        known: weakref.WeakKeyDictionary[Any, Any] | None = attributes.get("_payloads")
        # Several threads can call this at a time: all get the object of the first one.
        return attributes.setdefault("_payloads", weakref.WeakKeyDictionary()) if known is None else known

    def for_worker(self) -> TaskSpec:
        """What an execution needs to know: without hooks and conditions, which are called by the engine."""
        return dataclasses.replace(self, on_completion=(), on_failure=(), retry_condition=None, run_name=None)

    def __reduce__(self) -> tuple[Any, ...]:
        # By name where the other side can import it: `cloudpickle` alone would send such a function
        # by value, with all globals it uses, since its name leads to the task and not to it.
        path = import_path(self.function)
        changed = {
            field.name: getattr(self, field.name)
            for field in _WITH_DEFAULT
            if getattr(self, field.name) is not field.default
        }
        return _restore, (path, None if path else self.function, self.name, self.key, self.is_async, changed)


_WITH_DEFAULT = [field for field in dataclasses.fields(TaskSpec) if field.default is not dataclasses.MISSING]


def _restore(
    path: tuple[str, str] | None,
    function: Callable[..., Any] | None,
    name: str,
    key: str,
    is_async: bool,
    changed: dict[str, Any],
) -> TaskSpec:
    if path is not None:
        function = undecorated(look_up(*path))
    assert function is not None
    return TaskSpec(function, name, key, is_async, **changed)


_OPTIONS: Table = {
    **COMMON,
    "task_run_name": ("run_name", checks.optional(checks.name_template)),
    "cache_key_fn": ("cache_key_fn", checks.optional(checks.function)),
    "cache_expiration": ("cache_lifetime", checks.optional(checks.seconds)),
    "refresh_cache": ("refresh_cache", checks.flag),
    "result_storage": ("result_storage", checks.optional(checks.text)),
    "resources": ("resources", checks.optional(checks.resources)),
}
