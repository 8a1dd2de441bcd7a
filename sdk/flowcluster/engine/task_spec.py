"""What a task is: its function and its options, as values that do not change.

They are separate from `Task`, which callers use, because the engine and the workers need no more than this.
"""

from __future__ import annotations

import dataclasses
import datetime
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from flowcluster._util import names
from flowcluster._util.functions import check_function, import_path, is_coroutine_function, look_up, undecorated
from flowcluster.engine import option_checks
from flowcluster.engine.options import COMMON, RunOptions, Table, fields_of
from flowcluster.engine.run_spec import RunSpec


class TaskOptions(RunOptions, total=False):
    """What ``@task(...)`` and ``task.with_options(...)`` take."""

    task_run_name: str | Callable[[], str] | None
    """Name of each run: a template such as ``"load-{table}"`` over the arguments, or a function."""
    cache_key_fn: Callable[[Any, dict[str, Any]], str | None] | None
    """Called with (run, arguments by name): runs with the same key share one result. None: not this run."""
    cache_expiration: datetime.timedelta | float | None
    """Seconds for which a cached result can be used; forever by default."""
    refresh_cache: bool
    """Execute again and store the new result, even if there is a cached one."""
    result_storage: str | None
    """Where cached results are kept: a directory or any fsspec URL that the workers can reach, too.
    By default the value of ``FLOWCLUSTER_RESULT_STORAGE``, else ``~/.flowcluster/results``."""
    resources: Mapping[str, float] | None
    """The resources of its worker that an execution occupies, such as ``{"GPU": 1}``; local runners have none."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TaskSpec(RunSpec):
    """A task's function and options, the latter as `TaskOptions` describes them, checked.

    Attributes:
        key: eight digits that distinguish tasks of the same name in the names of their runs.
        cache_lifetime: seconds for which a cached result can be used.
    """

    key: str
    cache_key_fn: Callable[[Any, dict[str, Any]], str | None] | None = None
    cache_lifetime: float | None = None
    refresh_cache: bool = False
    result_storage: str | None = None
    resources: Mapping[str, float] | None = None

    @staticmethod
    def of(function: Callable[..., Any], options: TaskOptions) -> TaskSpec:
        """Return the spec of a function.

        Raises:
            TypeError: the function cannot be a task, or an option has the wrong type; the message names it.
            ValueError: an option has a wrong value; the message names it.
        """
        check_function(function, "task")
        spec = TaskSpec(
            function=function,
            name=names.function_name(function),
            key=names.task_key(function),
            is_async=is_coroutine_function(function),
        )
        return spec.having(options)

    def having(self, options: TaskOptions) -> TaskSpec:
        """Return the task with other options. Raises TypeError or ValueError, which name the option."""
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
        """Return the task without hooks and conditions, which only the flow's process calls."""
        return dataclasses.replace(self, on_completion=(), on_failure=(), retry_condition=None, run_name=None)

    def __reduce__(self) -> tuple[Any, ...]:
        # By name where the other process can import the function: cloudpickle itself would send it by value, with all
        # globals that it uses, because its name leads to the task and not to the function.
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
    return TaskSpec(function=function, name=name, key=key, is_async=is_async, **changed)


_OPTIONS: Table = {
    **COMMON,
    "task_run_name": ("run_name", option_checks.optional(option_checks.name_template)),
    "cache_key_fn": ("cache_key_fn", option_checks.optional(option_checks.function)),
    "cache_expiration": ("cache_lifetime", option_checks.optional(option_checks.seconds)),
    "refresh_cache": ("refresh_cache", option_checks.flag),
    "result_storage": ("result_storage", option_checks.optional(option_checks.text)),
    "resources": ("resources", option_checks.optional(option_checks.resources)),
}
