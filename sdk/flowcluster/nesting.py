"""Looking for futures and states inside of arguments and return values, however deeply they are nested."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

from flowcluster.annotations import allow_failure, opaque, quote
from flowcluster.futures import FutureList, RunFuture
from flowcluster.states import State

# Most arguments are of these types; they are told apart first.
_PLAIN = frozenset({int, str, float, bool, bytes, complex, type(None)})


Leaf = Callable[[Any, bool], Any]


class Slot:
    """Stands for the result of an upstream run, in arguments that travel before the result exists."""

    __slots__ = ("allow_failure", "index")

    def __init__(self, index: int, allow_failure: bool) -> None:
        self.index = index
        self.allow_failure = allow_failure


def replace(value: Any, leaf: Leaf, allowed: bool = False) -> Any:
    """The value with `leaf(x, allowed)` in place of each future, state and slot `x` in it.

    Looks into lists, tuples, sets, dicts, dataclass instances and pydantic models. What does not change is not copied,
    and what does is a copy: the caller's objects stay as they are.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is FutureList:
        return [replace(item, leaf, allowed) for item in value]
    if kind is list or kind is set or kind is frozenset or isinstance(value, tuple):
        # Without a call per item: a list of a million numbers is common.
        if _PLAIN.issuperset(map(type, value)):
            return value
        items = [replace(item, leaf, allowed) for item in value]
        if all(map(_same, items, value)):
            return value
        return kind(*items) if hasattr(kind, "_fields") else kind(items)
    if isinstance(value, dict):
        return _replace_in_dict(value, leaf, allowed)
    if isinstance(value, RunFuture | State | Slot):
        return leaf(value, allowed)
    if kind is allow_failure:
        return replace(value.value, leaf, True)
    if kind is quote:
        return value.value
    if kind is opaque:
        inner = value.value
        return leaf(inner, allowed) if isinstance(inner, RunFuture | State | Slot) else inner
    if isinstance(value, type):
        return value
    if hasattr(kind, "__dataclass_fields__"):
        return _replace_in_object(value, kind.__dataclass_fields__, leaf, allowed)
    # A pydantic model, told without importing pydantic.
    if hasattr(kind, "__pydantic_fields__"):
        return _replace_in_model(value, leaf, allowed)
    return value


def _same(one: object, other: object) -> bool:
    return one is other


def _replace_in_dict(value: dict[Any, Any], leaf: Leaf, allowed: bool) -> dict[Any, Any]:
    if _PLAIN.issuperset(map(type, value.values())):
        return value
    changed = {}
    for key, item in value.items():
        new = replace(item, leaf, allowed)
        if new is not item:
            changed[key] = new
    if not changed:
        return value
    # A copy keeps what a subclass adds, such as the factory of a defaultdict.
    result = copy.copy(value)
    result.update(changed)
    return result


def _replace_in_object(value: Any, fields: Iterable[str], leaf: Leaf, allowed: bool) -> Any:
    changed = {}
    for name in fields:
        item = getattr(value, name, None)
        new = replace(item, leaf, allowed)
        if new is not item:
            changed[name] = new
    if not changed:
        return value
    # Not through the constructor: it may check or derive values, and it ran when the user made the object.
    result = copy.copy(value)
    for name, item in changed.items():
        object.__setattr__(result, name, item)
    return result


def _replace_in_model(value: Any, leaf: Leaf, allowed: bool) -> Any:
    result = _replace_in_object(value, type(value).__pydantic_fields__, leaf, allowed)
    extra = value.__pydantic_extra__
    if extra and (new := _replace_in_dict(extra, leaf, allowed)) is not extra:
        result = copy.copy(value) if result is value else result
        object.__setattr__(result, "__pydantic_extra__", new)
    return result
