"""What a task or a flow is: its function and its options, as values that do not change.

They are apart from `Task` and `Flow`, which are made for callers, because the engine and the workers
need no more than this.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any

from . import names, pickling

#: Keywords that ``task.submit(...)`` and calls of tasks and flows take for themselves.
RESERVED = ("return_state", "wait_for")


@dataclasses.dataclass(frozen=True, eq=False)
class TaskSpec:
    """A task's function and options.

    Attributes:
        function: what the task runs.
        name: name of the task.
        key: eight digits that tell tasks of the same name apart in the names of their runs.
        is_async: whether the function is a coroutine function.
    """

    function: Callable[..., Any]
    name: str
    key: str
    is_async: bool

    @staticmethod
    def of(function: Callable[..., Any], name: str | None = None) -> TaskSpec:
        """The spec of a function. Raises TypeError if it cannot be a task."""
        check_function(function, "task")
        return TaskSpec(
            function=function,
            name=name or names.function_name(function),
            key=names.task_key(function),
            is_async=is_coroutine_function(function),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # By name where the other side can import it: `cloudpickle` alone would send such a function
        # by value, with all globals it uses, since its name leads to the task and not to it.
        path = import_path(self.function)
        function = None if path else self.function
        return _restore, (path, function, self.name, self.key, self.is_async)


def _restore(
    path: tuple[str, str] | None, function: Callable[..., Any] | None, name: str, key: str, is_async: bool
) -> TaskSpec:
    if path is not None:
        function = undecorated(look_up(*path))
    assert function is not None
    return TaskSpec(function, name, key, is_async)


def look_up(module: str, qualified: str) -> Any:
    """The object behind a dotted name in a module, which is imported."""
    found: Any = importlib.import_module(module)
    for part in qualified.split("."):
        found = getattr(found, part)
    return found


def reference_to(thing: Any) -> tuple[str, str] | None:
    """Module and qualified name that lead to a task or flow itself, where another process can import it."""
    path = import_path(thing.fn)
    return path if path and look_up(*path) is thing else None


def undecorated(thing: Any) -> Any:
    """The function of a task or flow; anything else as it is."""
    return getattr(thing, "fn", thing)


def import_path(function: Callable[..., Any]) -> tuple[str, str] | None:
    """Module and qualified name that lead to `function`, or to its task, on any machine that has the module."""
    module = getattr(function, "__module__", None)
    qualified = getattr(function, "__qualname__", "<")
    if not module or "<" in qualified or module not in sys.modules:
        return None
    if pickling.travels_by_value(module):
        return None
    try:
        found = undecorated(look_up(module, qualified))
    except AttributeError:
        return None
    return (module, qualified) if found is function else None


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether calling `function` gives a coroutine; sees through partials and callable objects."""
    while hasattr(function, "func") and hasattr(function, "keywords"):
        function = function.func
    # A class's `__call__` is what a call of its instance runs.
    called = vars(type(function)).get("__call__")
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def check_function(function: Any, what: str) -> None:
    """Raise TypeError if `function` cannot be a task or a flow, with what to do instead."""
    if not callable(function):
        raise TypeError(f"@{what} needs a function, not {function!r}.")
    if isinstance(function, classmethod | staticmethod):
        raise TypeError(f"Put @{what} under @{type(function).__name__}, next to the function.")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"The {what} {function.__name__!r} is a generator; return a list instead of yielding.")
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        return  # Written in C without a signature: it has no parameter names that could clash.
    for name in RESERVED:
        if name in parameters:
            raise TypeError(f"The {what} {names.function_name(function)!r} has a parameter {name!r}: that is reserved.")
