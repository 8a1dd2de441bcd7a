"""An extension of cloudpickle for code of scripts, which handles what cloudpickle does not.

- ``functools.cache`` and ``lru_cache``: cloudpickle sends such a function by its name, which leads to nothing in other
  processes.
- ``functools.singledispatch`` and, before Python 3.12, ``cached_property``: it cannot pickle their weak references and
  locks.
- Context variables: it cannot pickle them.
- References to objects of Ray: they lose their owner.
- Enums: it leaves out aliases, members of a Flag with more than one bit (cloudpickle 3.1, its issue 558), and what the
  enum's ``__init__`` sets.
- Classes: it leaves out attributes that are the same object as the base's (its issue 584), so that another base's value
  comes first in the method resolution order. It makes a class without its attributes and keyword arguments, so that an
  ``__init_subclass__`` that needs them raises an error (its issue 527), or runs again at each load.
"""

from __future__ import annotations

import enum
import functools
import io
import sys
import threading
import types
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import Any

import cloudpickle

from flowcluster.project import by_value, modules


class CloudPickler(cloudpickle.Pickler):  # type: ignore[misc] # it has no types
    """Pickles functions and classes that other processes cannot import with their code.

    Modules, classes and functions of the project are pickled by name.
    """

    @classmethod
    def dumps(cls, value: object, apart: Callable[[Any], bool] | None = None) -> bytes:
        """Return the value as bytes for ``pickle.loads``.

        Args:
            value: the value.
            apart: called with each buffer in it; see `flowcluster._util.pickling.dumps`.
        """
        file = io.BytesIO()
        cls(file, protocol=5, buffer_callback=apart).dump(value)
        return file.getvalue()

    def reducer_override(self, obj: Any) -> Any:
        """Return how to rebuild an object, as ``object.__reduce__`` does. pickle calls this for each object."""
        if (reference := modules.reference_to(obj)) is not None:
            return modules.resolve, reference
        if isinstance(obj, functools._lru_cache_wrapper):
            if _is_by_value(obj):
                parameters = obj.cache_parameters()
                return _cached, (obj.__wrapped__, parameters["maxsize"], parameters["typed"])
        elif not issubclass(type(obj), types.FunctionType) and isinstance(obj, types.FunctionType):
            return _reduced_proxy(obj)
        elif isinstance(obj, types.FunctionType):
            registry = vars(obj).get("registry")
            if isinstance(registry, types.MappingProxyType) and "dispatch" in vars(obj) and _is_by_value(obj):
                return _dispatching, (dict(registry),)
        elif type(obj) is functools.cached_property:
            return _cached_property, (obj.func, obj.attrname)
        elif type(obj) is ContextVar:
            return _reduced_variable(obj)
        elif isinstance(obj, enum.EnumMeta):
            return _with_all_members(obj, super().reducer_override(obj))
        elif isinstance(obj, type):
            return _with_all_attributes(obj, super().reducer_override(obj))
        elif (reduce := _reduce_of_ray(type(obj))) is not None:
            return reduce(obj)
        return super().reducer_override(obj)


def _reduced_proxy(proxy: Any) -> Any:
    """Return how to rebuild a proxy of a function: cloudpickle would send only the function that it wraps."""
    wrapt = sys.modules.get("wrapt")
    if wrapt is not None and type(proxy) is wrapt.FunctionWrapper:
        return _proxy, (proxy.__wrapped__, proxy._self_wrapper, proxy._self_enabled)
    return NotImplemented


def _proxy(*arguments: Any) -> Any:
    import wrapt

    return wrapt.FunctionWrapper(*arguments)


def _reduce_of_ray(kind: type) -> Callable[[Any], Any] | None:
    """Return the function by which Ray's own cloudpickle reduces such objects, such as references; None without one.

    Otherwise, a reference would be loaded without its owner, and `ray.get` would wait forever.
    """
    pickle_of_ray = sys.modules.get("ray.cloudpickle")
    if pickle_of_ray is None or not str(kind.__module__).startswith("ray"):
        return None
    found: Callable[[Any], Any] | None = pickle_of_ray.CloudPickler.dispatch.get(kind)
    return found


def _is_by_value(function: Any) -> bool:
    """Return whether the function's name does not lead to it in other processes."""
    module, qualified = getattr(function, "__module__", None), getattr(function, "__qualname__", "<")
    if not module or "<" in qualified or by_value.travels_by_value(module):
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


#: Context variables that are sent by value, by an identity that is the same in all processes.
_variables: dict[str, ContextVar[Any]] = {}
#: How to rebuild each context variable, by its `id`; with the variable, so that no other object gets this `id`.
_known_variables: dict[int, tuple[ContextVar[Any], Any]] = {}


def _reduced_variable(variable: ContextVar[Any]) -> Any:
    found = _known_variables.get(id(variable))
    if found is None:
        # Two threads at the same time both use what the first one has stored.
        found = _known_variables.setdefault(id(variable), (variable, _place_of(variable) or _by_identity(variable)))
    return found[1]


def _place_of(variable: ContextVar[Any]) -> Any:
    """Return how a worker finds the variable in a module that it can import; None if no such module has it."""
    for name, module in list(sys.modules.items()):
        if isinstance(module, types.ModuleType) and name != "__mp_main__" and not by_value.travels_by_value(name):
            for attribute, value in list(vars(module).items()):
                if value is variable:
                    return getattr, (module, attribute)
    return None


def _by_identity(variable: ContextVar[Any]) -> Any:
    identity = uuid.uuid4().hex
    _variables[identity] = variable
    try:
        default: tuple[Any, ...] = (Context().run(variable.get),)
    except LookupError:
        default = ()
    return _variable, (identity, variable.name, *default)


def _variable(identity: str, name: str, *default: Any) -> ContextVar[Any]:
    """Return the same variable for all loads in a process. It has the value that code sets there, or its default."""
    made: ContextVar[Any] = ContextVar(name, default=default[0]) if default else ContextVar(name)
    return _variables.setdefault(identity, made)


def _with_all_members(kind: enum.EnumMeta, reduced: Any) -> Any:
    """Add members, and attributes of members, to cloudpickle's reduction of an enum's class."""
    if not isinstance(reduced, tuple) or getattr(reduced[0], "__name__", "") != "_make_skeleton_enum":
        return reduced  # by its name
    make, (bases, name, qualified, _, *others), (attributes, slots), items, pairs, set_state = reduced
    attributes |= _left_out(kind, attributes)
    members: dict[str, Any] = dict(kind.__members__)
    values = {name: member._value_ for name, member in members.items()}
    attributes = {name: value for name, value in attributes.items() if name not in members}
    own = {name: _own_attributes(member) for name, member in members.items() if member.name == name}
    state = (set_state, (attributes, slots), own)
    return make, (bases, name, qualified, values, *others), state, items, pairs, _set_enum_state


def _own_attributes(member: Any) -> dict[str, Any]:
    """Return the attributes that the enum's own code has set in a member."""
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


def _with_all_attributes(kind: type, reduced: Any) -> Any:
    """Add attributes that cloudpickle omits to a class, and keep its bases from initializing it again."""
    if not isinstance(reduced, tuple) or getattr(reduced[0], "__name__", "") != "_make_skeleton_class":
        return reduced  # by its name
    _, (make, name, bases, given, *tracking), (attributes, slots), *others = reduced
    attributes = {
        name: value for name, value in attributes.items() if not isinstance(value, types.MemberDescriptorType)
    }
    own_slots = vars(kind).get("__slots__")
    if isinstance(own_slots, str | tuple | list | dict) and not hasattr(kind, "_fields"):  # a NamedTuple sets its own
        # The class is made with its slots. If they were assigned later, an instance would also have a `__dict__`.
        given = {**given, "__slots__": own_slots}
    silent = [base for base in kind.__mro__[1:] if "__init_subclass__" in vars(base) and _is_by_value(base)]
    arguments = (silent, make, name, bases, given, *tracking)
    return _made_class, arguments, (attributes | _left_out(kind, attributes), slots), *others


def _left_out(kind: type, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the class's own attributes that `attributes` lacks because the base has the same objects."""
    return {
        name: value
        for name, value in vars(kind).items()
        if name not in attributes
        and name not in ("__module__", "__dict__", "__weakref__", "__annotate_func__", "_abc_impl")
        and not isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType)
        and not (name == "__doc__" and value is None)
    }


def _made_class(silent: list[type], *arguments: Any) -> Any:
    """Make a class without attributes, or return the class that an earlier load has made."""
    make, tracked = cloudpickle.cloudpickle._make_skeleton_class, cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID
    if (known := tracked.get(arguments[4])) is not None:
        return known
    try:
        with _silenced(silent):
            return make(*arguments)
    except Exception:
        # A library's `__init_subclass__` also needs attributes that this class does not have yet.
        bases = {each: None for base in types.resolve_bases(arguments[2]) for each in base.__mro__}
        with _silenced([base for base in bases if base.__flags__ & _HEAP_TYPE]):
            return make(*arguments)


_HEAP_TYPE = 1 << 9  # CPython: a class that was made by a ``class`` statement

_silencing = threading.RLock()


@contextmanager
def _silenced(bases: list[type]) -> Iterator[None]:
    """Disable the `__init_subclass__` of these classes: it was called where the subclass was defined."""
    with _silencing:
        found = [(base, vars(base)["__init_subclass__"]) for base in bases if "__init_subclass__" in vars(base)]
        try:
            for base, _ in found:
                type.__setattr__(base, "__init_subclass__", classmethod(functools.partial(_init_next, base)))
            yield
        finally:
            for base, own in found:
                type.__setattr__(base, "__init_subclass__", own)


def _init_next(base: type, kind: type, **_: Any) -> None:
    # A class of a library can register its subclasses, in each process.
    super(base, kind).__init_subclass__()  # type: ignore[arg-type] # it takes `base` for an instance
