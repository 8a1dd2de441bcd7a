"""Functions as tasks and flows see them: what may be one, and how other processes find it."""

from __future__ import annotations

import enum
import functools
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

from flowcluster import by_value, names
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
    """The function of a task or flow, without what it is bound to; anything else as it is."""
    function = getattr(thing, "fn", thing)
    return function.__func__ if function is not thing and isinstance(function, types.MethodType) else function


def import_path(function: Callable[..., Any]) -> tuple[str, str] | None:
    """Module and qualified name that lead to `function`, or to its task, on any machine that has the module."""
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
    """The function that is called in the end: inside of a partial, a method, or an object that can be called."""
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
    """Whether calling `function` gives a coroutine; sees through partials and callable objects."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(base_of(function))


class Binding(enum.Enum):
    """What the function of a task or flow gets as its first argument, if that stands in a class."""

    INSTANCE = enum.auto()
    CLASS = enum.auto()
    NOTHING = enum.auto()


def unwrapped(function: Any) -> tuple[Any, Binding]:
    """What ``@classmethod`` or ``@staticmethod`` below a decorator of ours is about, and how it binds."""
    if isinstance(function, classmethod):
        return function.__func__, Binding.CLASS
    if isinstance(function, staticmethod):
        return function.__func__, Binding.NOTHING
    # Only what Python would make a method of: an object that can be called is none.
    is_method = hasattr(type(function), "__get__") and not isinstance(function, types.MethodType | functools.partial)
    return function, Binding.INSTANCE if is_method else Binding.NOTHING


def copy_names(function: Any, thing: Any) -> None:
    """Give `thing`, a task or flow, the name, the documentation and the attributes of its function.

    What the function has under a name that `thing` uses is left out: an object that can be called may have any.
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
        return  # Written in C without a signature: it has no parameter names that could clash.
    for reserved in RESERVED:
        if reserved in parameters:
            raise TypeError(f"The {what} {name!r} has a parameter {reserved!r}: that is reserved.")


def refuse_lost_class(thing: Any) -> None:
    """Raise TypeError for a task that ``@classmethod`` wraps, on a Python that does not give it the class.

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
