"""The Task or Flow of each spec. Hooks and conditions of users receive the Task or Flow, and not the spec."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

# The Task or Flow that was made from each spec. Weak references, because a Task can be made for one call.
_made: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()

#: `Task` by `TaskSpec`, and `Flow` by `FlowSpec`. The engine cannot import them.
_makers: dict[type, Callable[[Any], Any]] = {}


def makes_from(spec: type) -> Callable[[type[T]], type[T]]:
    """Return a decorator that registers a class as the one to make from specs of the class `spec`."""

    def add(cls: type[T]) -> type[T]:
        _makers[spec] = cls
        return cls

    return add


def register(spec: Any, thing: Any) -> None:
    """Record the Task or Flow that was made from a spec, unless an earlier one is recorded."""
    if spec not in _made:
        _made[spec] = weakref.ref(thing)


def thing_of(spec: Any) -> Any:
    """Return the Task or Flow that has the spec; a new one if the registered one no longer exists."""
    known = _made.get(spec)
    thing = None if known is None else known()
    return _makers[type(spec)](spec) if thing is None and type(spec) in _makers else thing or spec
