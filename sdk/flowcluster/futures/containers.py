"""Containers in arguments and results: their parts, and how to copy one with other parts."""

from __future__ import annotations

import copy
import types
import weakref
from collections import ChainMap, UserDict, UserList, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

#: Types of values that contain no others. Most arguments are of these types.
PLAIN = frozenset({int, str, float, bool, bytes, complex, type(None)})


class Shape(NamedTuple):
    """How to read and copy a kind of container.

    Attributes:
        parts: returns the parts of a container, in a fixed order.
        make: returns a copy with other parts, in that order. It does not call the constructor, which ran when the user
            made the object, and which can check or derive values.
        fill: replaces the parts of a copy; None for containers that cannot change.
    """

    parts: Callable[[Any], Sequence[Any]]
    make: Callable[[Any, Sequence[Any]], Any]
    fill: Callable[[Any, Any, Sequence[Any]], None] | None = None


def shape_of(kind: type) -> Shape | None:
    """Return the shape of values of this type; None for values that are not containers."""
    if (known := EXACT.get(kind)) is not None:
        return known
    try:
        return _found[kind]
    except KeyError:
        pass
    shape = _found[kind] = _shape_of(kind)
    return shape


def _shape_of(kind: type) -> Shape | None:
    for base, shape in _BASES:
        if issubclass(kind, base):
            return shape
    if issubclass(kind, type):
        return None
    if hasattr(kind, "__dataclass_fields__"):
        return _object(kind, kind.__dataclass_fields__)
    if hasattr(kind, "__attrs_attrs__"):
        return _object(kind, (attribute.name for attribute in kind.__attrs_attrs__))
    # A pydantic model, without an import of pydantic.
    if hasattr(kind, "__pydantic_fields__"):
        return _object(kind, (*kind.__pydantic_fields__, "__pydantic_extra__"))
    return None


def _as_it_is(value: Any) -> Any:
    return value


def _refilled(value: Any, items: Sequence[Any]) -> Any:
    # A copy keeps the attributes of a subclass, and the limit of a deque.
    result = copy.copy(value)
    result.clear()
    result.extend(items)
    return result


def _refill(value: Any, result: Any, items: Sequence[Any]) -> None:
    result.clear()
    result.extend(items)


def _set_of(value: Any, items: Sequence[Any]) -> Any:
    result = copy.copy(value)
    _refill_set(value, result, items)
    return result


def _refill_set(value: Any, result: Any, items: Sequence[Any]) -> None:
    result.clear()
    result.update(items)


def _frozen_set_of(value: Any, items: Sequence[Any]) -> Any:
    return _with_attributes(frozenset.__new__(type(value), items), value)


def _tuple_of(value: Any, items: Sequence[Any]) -> Any:
    return _with_attributes(tuple.__new__(type(value), items), value)


def _with_attributes(result: Any, value: Any) -> Any:
    if attributes := getattr(value, "__dict__", None):
        vars(result).update(attributes)
    return result


def _keys_and_values(value: dict[Any, Any]) -> Sequence[Any]:
    return [*value.keys(), *value.values()]


def _dict_of(value: dict[Any, Any], items: Sequence[Any]) -> Any:
    result = copy.copy(value)  # keeps the attributes of a subclass, such as the factory of a defaultdict
    _refill_dict(value, result, items)
    return result


def _refill_dict(value: dict[Any, Any], result: dict[Any, Any], items: Sequence[Any]) -> None:
    half = len(items) // 2
    if any(one is not other for one, other in zip(items, result, strict=False)):
        result.clear()
    for key, item in zip(items[:half], items[half:], strict=True):
        result[key] = item  # not by `update`, which adds numbers in a Counter


def _proxy_of(value: Any, items: Sequence[Any]) -> Any:
    half = len(items) // 2
    return types.MappingProxyType(dict(zip(items[:half], items[half:], strict=True)))


def _attributes(value: Any) -> Sequence[Any]:
    return list(vars(value).values())


def _set_attributes(value: Any, result: Any, items: Sequence[Any]) -> None:
    vars(result).update(zip(vars(value), items, strict=True))


def _namespace_of(value: Any, items: Sequence[Any]) -> Any:
    result = copy.copy(value)
    _set_attributes(value, result, items)
    return result


def _object(kind: type, attributes: Iterable[str]) -> Shape:
    """Return the shape of instances of a class with these attributes.

    A stored value is read and written where it is stored: the class's `__getattribute__` could compute another one.
    """
    names = tuple(attributes)
    slots = {name: slot for name in names if (slot := _slot_of(kind, name)) is not None}

    def read(value: Any, name: str) -> Any:
        if name in (attributes := _dict_of_object(value)):
            return attributes[name]
        try:
            return slots[name].__get__(value) if name in slots else getattr(value, name, None)
        except Exception:  # it has no value yet, or its code raises an error
            return None

    def parts(value: Any) -> Sequence[Any]:
        return [read(value, name) for name in names]

    def fill(value: Any, result: Any, items: Sequence[Any]) -> None:
        for name, item in zip(names, items, strict=True):
            if item is read(result, name):
                continue
            if name in (attributes := _dict_of_object(result)):
                attributes[name] = item
            else:
                object.__setattr__(result, name, item)

    def make(value: Any, items: Sequence[Any]) -> Any:
        result = copy.copy(value)
        fill(value, result, items)
        return result

    return Shape(parts, make, fill)


def _slot_of(kind: type, name: str) -> types.MemberDescriptorType | None:
    found = (vars(base).get(name) for base in kind.__mro__)
    return next((slot for slot in found if isinstance(slot, types.MemberDescriptorType)), None)


def _dict_of_object(value: Any) -> dict[str, Any]:
    try:
        attributes: dict[str, Any] = object.__getattribute__(value, "__dict__")
    except AttributeError:  # it has slots only
        return {}
    return attributes


_LIST = Shape(_as_it_is, _refilled, _refill)
_TUPLE = Shape(_as_it_is, _tuple_of)
_SET = Shape(list, _set_of, _refill_set)
_FROZEN_SET = Shape(list, _frozen_set_of)
_DICT = Shape(_keys_and_values, _dict_of, _refill_dict)

#: The shapes of the types of most containers.
EXACT: dict[type, Shape] = {list: _LIST, tuple: _TUPLE, dict: _DICT, set: _SET, frozenset: _FROZEN_SET}
_BASES: list[tuple[type, Shape]] = [
    *((list, _LIST), (tuple, _TUPLE), (dict, _DICT), (set, _SET), (frozenset, _FROZEN_SET), (deque, _LIST)),
    *((kind, _object(kind, (name,))) for kind, name in ((UserDict, "data"), (UserList, "data"), (ChainMap, "maps"))),
    (types.MappingProxyType, Shape(_keys_and_values, _proxy_of)),
    (types.SimpleNamespace, Shape(_attributes, _namespace_of, _set_attributes)),
]

_found: weakref.WeakKeyDictionary[type, Shape | None] = weakref.WeakKeyDictionary()
