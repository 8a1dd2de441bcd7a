"""cloudpickle, with what it lacks for code of scripts.

- ``functools.cache`` and ``lru_cache``: cloudpickle sends such a function by its name, which no other process knows.
- ``functools.singledispatch`` and, before Python 3.12, ``cached_property``: it cannot pickle their weak references and
  locks.
- Enums: it leaves out aliases, members of a Flag with more than one bit (cloudpickle 3.1, its issue 558), and what the
  enum's ``__init__`` sets.
"""

from __future__ import annotations

import enum
import functools
import io
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import cloudpickle

from flowcluster import pickling
from flowcluster.project import modules


class CloudPickler(cloudpickle.Pickler):  # type: ignore[misc] # it has no types
    """Pickles functions and classes that other processes cannot import with their code.

    Modules, classes and functions of the project are pickled by name.
    """

    @classmethod
    def dumps(cls, value: object, apart: Callable[[Any], bool] | None = None) -> bytes:
        """Return the value as bytes for ``pickle.loads``; `apart` is called with each buffer in it."""
        file = io.BytesIO()
        cls(file, protocol=5, buffer_callback=apart).dump(value)
        return file.getvalue()

    def reducer_override(self, obj: Any) -> Any:
        """Return how to rebuild the object, as for ``object.__reduce__``; called by pickle for each object."""
        if (reference := modules.reference_to(obj)) is not None:
            return modules.resolve, reference
        if isinstance(obj, functools._lru_cache_wrapper):
            if _is_by_value(obj):
                parameters = obj.cache_parameters()
                return _cached, (obj.__wrapped__, parameters["maxsize"], parameters["typed"])
        elif isinstance(obj, types.FunctionType):
            registry = vars(obj).get("registry")
            if isinstance(registry, types.MappingProxyType) and "dispatch" in vars(obj) and _is_by_value(obj):
                return _dispatching, (dict(registry),)
        elif type(obj) is functools.cached_property:
            return _cached_property, (obj.func, obj.attrname)
        elif isinstance(obj, enum.EnumMeta):
            return _with_all_members(obj, super().reducer_override(obj))
        return super().reducer_override(obj)


def _is_by_value(function: Any) -> bool:
    """Return whether the function's name does not lead to it in other processes."""
    module, qualified = getattr(function, "__module__", None), getattr(function, "__qualname__", "<")
    if not module or "<" in qualified or pickling.travels_by_value(module):
        return True
    found: Any = sys.modules.get(module)
    for name in qualified.split("."):
        found = getattr(found, name, None)
    return found is not function


def _cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Callable[..., Any]:
    return functools.lru_cache(maxsize, typed)(function)


def _dispatching(registry: Mapping[type, Callable[..., Any]]) -> Callable[..., Any]:
    function = functools.singledispatch(registry[object])
    for kind, implementation in registry.items():
        function.register(kind, implementation)
    return function


def _cached_property(function: Callable[[Any], Any], name: str | None) -> functools.cached_property[Any]:
    made = functools.cached_property(function)
    made.attrname = name
    return made


def _with_all_members(kind: enum.EnumMeta, reduced: Any) -> Any:
    """Add members, and attributes of members, to what cloudpickle sends of an enum's class."""
    if not isinstance(reduced, tuple) or getattr(reduced[0], "__name__", "") != "_make_skeleton_enum":
        return reduced  # by its name
    make, (bases, name, qualified, _, *others), (attributes, slots), items, pairs, set_state = reduced
    members: dict[str, Any] = dict(kind.__members__)
    values = {name: member._value_ for name, member in members.items()}
    attributes = {name: value for name, value in attributes.items() if name not in members}
    own = {name: _own_attributes(member) for name, member in members.items() if member.name == name}
    state = (set_state, (attributes, slots), own)
    return make, (bases, name, qualified, values, *others), state, items, pairs, _set_enum_state


def _own_attributes(member: Any) -> dict[str, Any]:
    """Return what the enum's own code has set in a member."""
    return {
        name: value
        for name, value in vars(member).items()
        if name not in ("_value_", "_name_", "__objclass__", "_sort_order_", "_inverted_")
    }


def _set_enum_state(kind: Any, state: Any) -> Any:
    set_state, of_class, of_members = state
    set_state(kind, of_class)
    for name, attributes in of_members.items():
        vars(kind.__members__[name]).update(attributes)
    return kind
