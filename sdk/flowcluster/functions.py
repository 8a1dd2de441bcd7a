"""Functions as tasks and flows see them: what may be one, and how other processes find it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

from flowcluster import names, pickling
from flowcluster.project import modules
from flowcluster.project.shared import public

#: Keywords that ``task.submit(...)`` and calls of tasks and flows take for themselves.
RESERVED = ("return_state", "wait_for")


def look_up(module: str, qualified: str) -> Any:
    """The object behind a dotted name in a module, which is imported."""
    found: Any = modules.import_module(module)
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
    return (public(module), qualified) if found is function else None


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
