"""Digests of values and code, for cache keys.

A digest is equal in each process, for any seed of hashes and order of keys. Values are hashed with their types,
functions of a project with all that they refer to, and functions of installed packages by name. A lock, for example,
has no content to hash.
"""

from __future__ import annotations

import copyreg
import enum
import functools
import hashlib
import inspect
import struct
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flowcluster._output.tracebacks import is_of_project
from flowcluster._util import guarding
from flowcluster._util.texts import as_bytes
from flowcluster.engine.caching import code_names
from flowcluster.project.source import cleaned, public

_PLAIN = frozenset({type(None), bool, complex, type(Ellipsis), type(NotImplemented)})
_BY_NAME = (
    types.BuiltinFunctionType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.MethodWrapperType,
)

#: Bytes from which a value is replaced by its digest.
_LONG = 64

#: Attributes of classes that differ between processes, or have the location of the class and not its behaviour.
_SKIPPED = frozenset({"__module__", "__dict__", "__weakref__", "__doc__", "__firstlineno__", "__static_attributes__"})

#: Attributes that `functools.update_wrapper` sets, and the function itself.
_COPIED = frozenset({*functools.WRAPPER_ASSIGNMENTS, "__type_params__", "__wrapped__"})


class CannotHash(TypeError):
    """A value has no content that can be hashed. The message names the path to it."""


class Hasher:
    """Hashes values that can refer to each other. Each cache key has a hasher of its own."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[Any, bytes]] = {}
        self._open: dict[int, int] = {}
        # The lowest depth to which a value on the current path refers back. The digest of a value in a circle depends
        # on where the circle was entered, so it is not kept.
        self._lowest = sys.maxsize

    def digest(self, value: Any, where: str) -> bytes:
        """Return the digest of a value; `where` is the path to the value, for messages.

        Raises:
            CannotHash: the value, or one in it, cannot be hashed.
        """
        if (short := _scalar(value)) is not None:
            return short
        known = self._done.get(id(value))
        if known is not None:
            return known[1]
        depth = self._open.get(id(value))
        if depth is not None:
            self._lowest = min(self._lowest, depth)
            return _joined("again", [str(len(self._open) - depth).encode()])
        depth = self._open[id(value)] = len(self._open)
        outer, self._lowest = self._lowest, sys.maxsize
        try:
            found = _joined(*self._parts(value, where))
        finally:
            del self._open[id(value)]
        if self._lowest >= depth:
            self._done[id(value)] = (value, found)  # the value is kept, or another object could get its identity
        self._lowest = min(outer, self._lowest if self._lowest < depth else sys.maxsize)
        return found

    def _parts(self, value: Any, where: str) -> tuple[str, Iterable[bytes]]:
        """Return the kind of a value and the parts of its digest."""
        kind = type(value)
        if kind is bytearray:
            return "bytearray", [bytes(value)]
        if kind is tuple or kind is list:
            return kind.__name__, [self.digest(item, f"{where}[{place}]") for place, item in enumerate(value)]
        if kind is set or kind is frozenset:
            return kind.__name__, sorted(self.digest(item, f"an item of {where}") for item in value)
        if kind is dict or kind is types.MappingProxyType:
            return kind.__name__, self._items(value.items(), where)
        if kind is types.FunctionType:
            return self._function(value, where)
        if kind is types.CodeType:
            return "code", self._code(value, where)
        if issubclass(kind, type):
            return self._class(value, where)
        if kind is types.MethodType:
            return "method", [self.digest(value.__func__, where), self.digest(value.__self__, f"self of {where}")]
        if kind is functools.partial:
            return "partial", [self.digest(part, where) for part in (value.func, value.args, value.keywords)]
        if kind is types.ModuleType:
            return "module", [as_bytes(public(value.__name__))]
        if kind is types.CellType:
            return "cell", [self.digest(value.cell_contents, where)] if _is_filled(value) else []
        return self._object(value, kind, where)

    def _object(self, value: Any, kind: type, where: str) -> tuple[str, Iterable[bytes]]:
        # By its type: a proxy, such as wrapt's around a function, reports another class.
        if issubclass(kind, staticmethod | classmethod):
            return kind.__name__, [self.digest(value.__func__, where)]
        if kind is functools.cached_property:
            return "cached_property", [self.digest(value.func, where)]
        if kind is property:
            return "property", [self.digest(part, where) for part in (value.fget, value.fset, value.fdel)]
        if issubclass(kind, enum.Enum):
            return "enum", [self.digest(kind, where), as_bytes(value.name)]
        if issubclass(kind, _BY_NAME):
            owner = getattr(value, "__self__", getattr(value, "__objclass__", None))
            if owner is None or isinstance(owner, types.ModuleType):
                return "function", [as_bytes(_name_of(value))]
            return "method", [as_bytes(value.__name__), self.digest(owner, where)]
        # A task or flow counts as its function, and so does the result of `lru_cache`.
        if kind.__module__.startswith("flowcluster.") and (inner := getattr(value, "fn", None)) is not None:
            return "wrapped", [as_bytes(_name_of(kind)), self.digest(inner, where)]
        if callable(value) and (inner := getattr(value, "__wrapped__", None)) is not None:
            return "wrapped", [self.digest(kind, where), self.digest(inner, where), *self._settings(value, where)]
        return self._reduced(value, kind, where)

    def _settings(self, value: Any, where: str) -> list[bytes]:
        """Hash the attributes of a wrapper, except the function and what `functools.wraps` copies."""
        settings = {name: each for name, each in getattr(value, "__dict__", {}).items() if name not in _COPIED}
        if (wrapper := getattr(value, "_self_wrapper", None)) is not None:  # of wrapt
            settings["_self_wrapper"] = wrapper
        return [
            _joined(name, [self._attribute(each, f"attribute {name!r} of {where}")])
            for name, each in sorted(settings.items())
        ]

    def _reduced(self, value: Any, kind: type, where: str) -> tuple[str, Iterable[bytes]]:
        """Hash what `pickle` needs to rebuild an object."""
        try:
            reduce = copyreg.dispatch_table.get(kind)
            reduced = reduce(value) if reduce else value.__reduce_ex__(4)
        except Exception as error:
            raise CannotHash(
                f"{where}, of type {kind.__qualname__}, cannot be hashed ({guarding.describe(error)}). Pass what it is "
                "made from, or give cache_key_fn a function of your own."
            ) from error
        if isinstance(reduced, str):
            return "global", [as_bytes(f"{public(str(getattr(value, '__module__', None)))}.{reduced}")]
        function, arguments, state, items, pairs = (*reduced, None, None, None, None)[:5]
        parts = [self.digest(kind, where), self.digest(function, where), self.digest(arguments, where)]
        parts.append(self.digest(state, where))
        parts.append(self.digest(None if items is None else list(items), where))
        if pairs is not None and not isinstance(value, OrderedDict):
            parts.extend(self._items(pairs, where))
        else:
            parts.append(self.digest(None if pairs is None else list(pairs), where))
        return "object", parts

    def _items(self, items: Iterable[tuple[Any, Any]], where: str) -> list[bytes]:
        return sorted(
            _joined(
                "pair", [self.digest(key, f"a key of {where}"), self.digest(item, f"{where}[{guarding.repr_of(key)}]")]
            )
            for key, item in items
        )

    def _function(self, value: types.FunctionType, where: str) -> tuple[str, Iterable[bytes]]:
        if not is_of_project(value.__code__.co_filename) and _is_importable(value):
            return "function", [as_bytes(_name_of(value))]
        where = f"function {value.__qualname__!r}"
        closure = [self.digest(cell, f"variable {name!r} of {where}") for name, cell in _closure(value)]
        defaults = [self.digest(part, f"a default of {where}") for part in (value.__defaults__, value.__kwdefaults__)]
        if not is_of_project(value.__code__.co_filename):
            return "code of function", [self.digest(value.__code__, where), *closure, *defaults]
        referred = [
            _joined(name, [self.digest(found, f"{name!r} in {where}")])
            for name, found in code_names.globals_of(value.__code__, value.__globals__)
        ]
        files = [_joined(name, [digest]) for name, digest in code_names.imports_of(value.__code__, value.__globals__)]
        return "code of function", [
            self.digest(value.__code__, where),
            *closure,
            *defaults,
            b"globals",
            *referred,
            *files,
        ]

    def _code(self, code: types.CodeType, where: str) -> Iterator[bytes]:
        """Yield the behaviour of a code object, without its location: no file name, no line numbers."""
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        yield repr((sys.version_info[:2], code.co_name, counts)).encode()
        yield code.co_code
        yield code.co_exceptiontable
        yield repr((code.co_names, code.co_varnames, code.co_cellvars, code.co_freevars)).encode()
        for constant in code.co_consts:
            yield self.digest(constant, f"a constant of {where}")

    def _class(self, value: type, where: str) -> tuple[str, Iterable[bytes]]:
        if not _is_class_of_project(value):
            return "class", [as_bytes(_name_of(value))]
        parts = [as_bytes(value.__qualname__)]
        where = f"class {value.__qualname__!r}"
        parts += [self.digest(base, where) for base in value.__bases__]
        if issubclass(value, enum.Enum):
            parts += [_joined(name, [self.digest(one.value, where)]) for name, one in value.__members__.items()]
        for name, attribute in sorted(vars(value).items()):
            if name in _SKIPPED or name.startswith("_abc_") or isinstance(attribute, enum.Enum):
                continue
            is_code = isinstance(attribute, types.FunctionType | staticmethod | classmethod | property)
            if not is_code and _is_of_framework(name, attribute, value):
                continue
            parts.append(_joined(name, [self._attribute(attribute, f"attribute {name!r} of {where}")]))
        for name, field in sorted(getattr(value, "__pydantic_fields__", {}).items()):
            parts.append(cleaned(f"{name}: {field.annotation!r}").encode())
            parts.append(self._attribute((field.default, field.default_factory), f"field {name!r} of {where}"))
        return "class of project", parts

    def _attribute(self, value: Any, where: str) -> bytes:
        # Frameworks give classes attributes without a content, such as the lock of a registry.
        try:
            return self.digest(value, where)
        except CannotHash:
            return as_bytes(_name_of(type(value)))


def _scalar(value: Any) -> bytes | None:
    """Return the bytes of a value that contains no other values; its digest if it is long."""
    kind = type(value)
    if kind is str:
        data = b"str " + as_bytes(value)
    elif kind is int:
        data = b"int " + hex(value).encode()
    elif kind is float:
        data = b"float " + struct.pack("<d", value)
    elif kind is bytes:
        data = b"bytes " + value
    elif kind in _PLAIN:
        data = b"plain " + repr(value).encode()
    else:
        return None
    return data if len(data) < _LONG else hashlib.sha256(data).digest()


def _joined(kind: str, parts: Iterable[bytes]) -> bytes:
    joined = hashlib.sha256(kind.encode())
    for part in parts:
        joined.update(len(part).to_bytes(8, "little"))
        joined.update(part)
    return joined.digest()


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _closure(function: types.FunctionType) -> Iterator[tuple[str, types.CellType]]:
    return zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)


def _name_of(thing: Any) -> str:
    return f"{public(str(thing.__module__))}.{thing.__qualname__}"


def _is_importable(function: Callable[..., Any]) -> bool:
    found: Any = sys.modules.get(function.__module__)
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is function or (callable(found) and inspect.unwrap(found) is function)


def _is_of_framework(name: str, attribute: Any, owner: type) -> bool:
    """Return whether a framework has made this attribute: many differ between processes or have no content."""
    if issubclass(owner, enum.Enum) and name.startswith(("_member", "_value")):
        return True
    # An author's own special attributes, such as a version or the name of a table, are plain values.
    return name.startswith("__") and (name.startswith("__pydantic_") or _scalar(attribute) is None)


def _is_class_of_project(value: type) -> bool:
    module = sys.modules.get(value.__module__)
    if module is None or value.__module__ == "__main__":
        return True  # it was sent with its code
    return is_of_project(getattr(module, "__file__", None) or "")
