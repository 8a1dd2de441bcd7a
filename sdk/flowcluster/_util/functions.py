"""Functions of tasks and flows: which are valid, how they bind, and how other processes find them."""

from __future__ import annotations

import enum
import functools
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

from flowcluster._util import names
from flowcluster.project import by_value, modules
from flowcluster.project.source import public

#: Keyword arguments of ``task.submit(...)`` and of calls of tasks and flows that are not passed to the function.
RESERVED = ("return_state", "wait_for")


def look_up(module: str, qualified: str) -> Any:
    """Import a module, and return the object with this dotted name in it."""
    found: Any = modules.import_module(module)
    for part in qualified.split("."):
        found = getattr(found, part)
    return found


def reference_to(thing: Any) -> tuple[str, str] | None:
    """Return module and qualified name of a task or flow; None if another process cannot import it by them."""
    path = import_path(thing.fn)
    return path if path and look_up(*path) is thing else None


def undecorated(thing: Any) -> Any:
    """Return the function of a task or flow, without a bound instance; return any other object unchanged."""
    function = getattr(thing, "fn", thing)
    return function.__func__ if function is not thing and isinstance(function, types.MethodType) else function


def import_path(function: Callable[..., Any]) -> tuple[str, str] | None:
    """Return module and qualified name of a function or its task; None if another process cannot import it by them."""
    module = getattr(function, "__module__", None)
    qualified = getattr(function, "__qualname__", "<")
    if not module or "<" in qualified or module not in sys.modules:
        return None
    if by_value.travels_by_value(module):
        return None
    try:
        found = undecorated(look_up(module, qualified))
    except AttributeError:
        return None
    return (public(module), qualified) if found is function else None


def base_of(function: Any) -> Any:
    """Return the innermost function: of a partial, a method, or a callable object."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, types.MethodType):
            function = function.__func__
        elif isinstance(function, type):
            return getattr(function, "__init__")  # noqa: B009 - mypy takes it for an instance's
        elif isinstance(function, types.FunctionType | types.BuiltinFunctionType):
            return function
        else:
            called = type(function).__call__
            if not isinstance(called, types.FunctionType):
                return function
            function = called


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Return whether a call of `function`, which can be a partial or a callable object, returns a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(base_of(function))


class Binding(enum.Enum):
    """What the function of a task or flow in a class gets as its first argument."""

    INSTANCE = enum.auto()
    CLASS = enum.auto()
    NOTHING = enum.auto()


def unwrapped(function: Any) -> tuple[Any, Binding]:
    """Return the function below ``@classmethod`` or ``@staticmethod``, and how it binds."""
    if isinstance(function, classmethod):
        return function.__func__, Binding.CLASS
    if isinstance(function, staticmethod):
        return function.__func__, Binding.NOTHING
    # As in Python, a callable object without `__get__` is not a method.
    is_method = hasattr(type(function), "__get__") and not isinstance(function, types.MethodType | functools.partial)
    return function, Binding.INSTANCE if is_method else Binding.NOTHING


def copy_names(function: Any, thing: Any) -> None:
    """Copy name, documentation and attributes of a function to its task or flow.

    An attribute is not copied if the task or flow has one of that name: a callable object can have any attribute.
    """
    functools.update_wrapper(thing, function, updated=())
    for name, value in getattr(function, "__dict__", {}).items():
        if not hasattr(thing, name):
            setattr(thing, name, value)


def check_function(function: Any, what: str) -> None:
    """Raise TypeError if `function` cannot be a task or a flow, with what to do instead."""
    if not callable(function):
        raise TypeError(f"@{what} needs a function, not {function!r}.")
    name = names.function_name(function)
    base = base_of(function)
    if inspect.isgeneratorfunction(base) or inspect.isasyncgenfunction(base):
        raise TypeError(f"The {what} {name!r} is a generator; return a list instead of yielding.")
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        return  # It is written in C without a signature, so it has no parameter names.
    for reserved in RESERVED:
        if reserved in parameters:
            raise TypeError(f"The {what} {name!r} has a parameter {reserved!r}: that is reserved.")


def refuse_lost_class(thing: Any) -> None:
    """Raise TypeError for a task below ``@classmethod``, if Python does not pass the class to it.

    From Python 3.13 on, ``Class.task`` is then a method of the task, whose ``submit`` does not know the class.
    """
    path, _, name = getattr(thing, "__qualname__", "").rpartition(".")
    if not path or "<" in path:
        return
    try:
        found = vars(look_up(thing.__module__, path)).get(name)
    except (ImportError, AttributeError, TypeError):
        return
    if isinstance(found, classmethod) and found.__func__ is thing:
        raise TypeError(
            f"Put @task above @classmethod for {thing.__qualname__}: below it, Python {sys.version_info.major}."
            f"{sys.version_info.minor} does not give the class to submit and map."
        )
