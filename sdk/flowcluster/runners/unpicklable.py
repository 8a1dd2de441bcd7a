"""Find the part of a value that cannot be pickled, for error messages."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import Any

from flowcluster._util import pickling

#: Maximum depth of the search: from a function to the values that it uses, to their attributes, and so on.
_DEPTH = 5


def culprit(value: Any) -> str | None:
    """Return a description of the part of a value that cannot be pickled; None if the search does not find it.

    The parts of a function are the values that it uses. An example of a description:
    ``the global 'db' and there the attribute 'connection' of type 'Connection'``.
    """
    found = _culprit(value, _DEPTH, set())
    return " ".join(found) if found else None


def _culprit(value: Any, depth: int, seen: set[int]) -> list[str] | None:
    if depth == 0 or id(value) in seen:
        return None
    seen.add(id(value))
    for name, part in _parts(value):
        if _can_be_pickled(part):
            continue
        inner = _culprit(part, depth - 1, seen)
        return [name, *(["and there", *inner] if inner else [f"of type '{type(part).__name__}'"])]
    return None


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a value that are pickled with it, each with its description."""
    if hasattr(value, "fn") and hasattr(value, "spec"):  # a task or flow
        value = value.fn
    if isinstance(value, types.MethodType):
        yield f"the object of the method '{value.__name__}'", value.__self__
        value = value.__func__
    if isinstance(value, functools.partial):
        yield from ((f"argument {place} of the partial", item) for place, item in enumerate(value.args))
        yield from ((f"argument '{name}' of the partial", item) for name, item in value.keywords.items())
        yield "the function of the partial", value.func
    elif isinstance(value, types.FunctionType):
        yield from _used_by(value)
    elif isinstance(value, dict):
        yield from ((f"the item {key!r}", item) for key, item in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"the item {place}", item) for place, item in enumerate(value))
    elif not isinstance(value, type):
        yield from ((f"the attribute '{name}'", item) for name, item in getattr(value, "__dict__", {}).items())


def _used_by(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name in _names(function.__code__):
        if name in function.__globals__:
            yield f"the global '{name}'", function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"the variable '{name}' of the function around it", cell.cell_contents
        except ValueError:  # not set yet
            continue
    for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield "a default", default


def _names(code: types.CodeType) -> Iterator[str]:
    """Yield the names that code can use as globals, also in its inner functions."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _can_be_pickled(value: Any) -> bool:
    try:
        pickling.dumps(value)
    except Exception:
        return False
    return True
