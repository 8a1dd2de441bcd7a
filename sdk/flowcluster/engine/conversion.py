"""Conversion of one value by one annotation, as pydantic does it, with three differences.

- A container keeps its class: a defaultdict that is given for ``dict[str, int]`` keeps its factory.
- An iterable is not replaced, so that it can be iterated twice and pickled; the items of a list, tuple or set are
  converted. pydantic returns an iterator that works once.
- An annotation that pydantic cannot check (a Protocol, ``Self``) accepts every value.
"""

from __future__ import annotations

import collections
import collections.abc
import copy
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

#: Containers that pydantic replaces by a class of its own choice. Here their instances keep their class.
_CONTAINERS: frozenset[Any] = frozenset(
    {
        *(list, dict, set, frozenset, tuple, collections.deque),
        *(collections.abc.Sequence, collections.abc.MutableSequence),
        *(collections.abc.Mapping, collections.abc.MutableMapping),
        *(collections.abc.Set, collections.abc.MutableSet),
    }
)

#: Annotations whose items pydantic does not convert, or converts while one iterates.
_ITERABLES: frozenset[Any] = frozenset(
    {collections.abc.Iterable, collections.abc.Generator, collections.abc.Collection, collections.abc.Reversible}
)

#: Classes whose items can be iterated more than once.
_COLLECTIONS = (list, tuple, set, frozenset, collections.deque)

_UNCHECKED = frozenset({Any, object, typing.Self})

_SCALARS = (int, float, str, bool, bytes)


class Converter:
    """Converts values by one annotation. It imports pydantic only for a value that is not of the annotated type.

    Attributes:
        hint: the annotation, as an object.
    """

    def __init__(self, hint: Any) -> None:
        self.hint = hint
        self._validate: Callable[[Any], Any] | None = None

    def convert(self, value: Any) -> Any:
        """Return the value in the annotation's type.

        Raises:
            pydantic.ValidationError: the value does not fit.
            Exception: whatever a user's validator raises.
        """
        if type(value) is self.hint:
            return value
        if self._validate is None:
            self._validate = _validator(self.hint)
        return self._validate(value)


def _validator(hint: Any) -> Callable[[Any], Any]:
    # For an annotation that it does not know, pydantic raises errors of any type.
    try:
        return _checking(_rewritten(hint))
    except Exception:
        try:
            return _checking(hint)
        except Exception:
            return _same


def _checking(hint: Any) -> Callable[[Any], Any]:
    import pydantic

    try:
        adapter = pydantic.TypeAdapter[Any](hint, config={"arbitrary_types_allowed": True})
    except pydantic.PydanticUserError:
        # Models and dataclasses have their own configuration, and accept no other.
        adapter = pydantic.TypeAdapter[Any](hint)
    return adapter.validate_python


def _same(value: Any) -> Any:
    return value


def _rewritten(hint: Any) -> Any:
    """Return the annotation with validators where pydantic would convert in another way."""
    while hasattr(hint, "__supertype__"):  # a NewType
        hint = hint.__supertype__
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Unpack:  # of the options in ``**options``
        return _rewritten(args[0])
    if origin is typing.Annotated:
        bare = typing.get_origin(args[0]) or args[0]
        return _marked(typing.Annotated[(_inside(args[0]), *args[1:])], bare)
    return _marked(_inside(hint), origin or hint)


def _inside(hint: Any) -> Any:
    """Return the annotation with its arguments rewritten."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    bare = origin or hint
    if _is_unchecked(bare):
        return Any
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(_rewritten(arg) for arg in args)]  # noqa: UP007 - made of a tuple
    if bare in _ITERABLES:
        return list[_rewritten(args[0])] if args else list  # type: ignore[misc]
    if origin in _CONTAINERS:
        return origin[tuple(arg if arg is ... else _rewritten(arg) for arg in args)] if args else hint
    if _is_old_model(bare):
        return _old_model(bare)
    if typing.is_typeddict(hint) and type(hint).__module__ == "typing" and sys.version_info < (3, 12):
        return _typed_dict(hint)
    return hint


def _is_unchecked(bare: Any) -> bool:
    try:
        if bare in _UNCHECKED:
            return True
    except TypeError:  # what cannot be hashed
        return False
    is_protocol = isinstance(bare, type) and getattr(bare, "_is_protocol", False)
    return is_protocol and not getattr(bare, "_is_runtime_protocol", False)


def _marked(hint: Any, bare: Any) -> Any:
    """Return the annotation with a validator around pydantic's, if its values keep their class."""
    import pydantic

    try:
        if bare in _ITERABLES:
            return typing.Annotated[hint, pydantic.WrapValidator(_iterable)]
        if bare in _CONTAINERS:
            return typing.Annotated[hint, pydantic.WrapValidator(_keeping(bare))]
    except TypeError:
        pass
    return hint


def _iterable(value: Any, handler: Callable[[Any], Any]) -> Any:
    if isinstance(value, _COLLECTIONS):
        return _like(value, handler(list(value)))
    if not isinstance(value, Iterable) and not hasattr(value, "__getitem__"):
        raise ValueError("Input should be iterable")
    return value


def _keeping(kind: type) -> Callable[[Any, Callable[[Any], Any]], Any]:
    def keep(value: Any, handler: Callable[[Any], Any]) -> Any:
        result = handler(value)
        return _like(value, result) if type(result) is not type(value) and isinstance(value, kind) else result

    def keep_deque(value: Any, handler: Callable[[Any], Any]) -> Any:
        result = handler(value)
        is_bounded = isinstance(value, collections.deque) and isinstance(result, collections.deque)
        return _like(value, result) if is_bounded else keep(value, lambda _: result)

    # pydantic drops the bound of a deque that is given for a Sequence.
    return keep_deque if issubclass(collections.deque, kind) else keep


def _like(value: Any, result: Any) -> Any:
    """Return the converted items of `result` in a container like `value`."""
    try:
        if _is_unchanged(value, result):
            return value
        if isinstance(value, tuple | frozenset):
            return value._make(result) if hasattr(value, "_make") else type(value)(result)
        if isinstance(value, list | dict | set | collections.deque):
            made = copy.copy(value)
            made.clear()
            made.extend(result) if isinstance(made, list | collections.deque) else made.update(result)
            return made
    except Exception:  # a class with another constructor than its base
        return result
    return result


def _is_unchanged(value: Any, result: Any) -> bool:
    if isinstance(value, set | frozenset) or len(value) != len(result):
        return False
    if isinstance(value, Mapping):
        return all(_is_same(*keys) for keys in zip(value, result, strict=True)) and all(
            _is_same(*items) for items in zip(value.values(), result.values(), strict=True)
        )
    return all(_is_same(*items) for items in zip(value, result, strict=True))


def _is_same(one: Any, other: Any) -> bool:
    return one is other or (type(one) is type(other) and isinstance(one, _SCALARS) and bool(one == other))


def _is_old_model(bare: Any) -> bool:
    """Return whether this is a model of pydantic's version 1, which version 2 contains."""
    return isinstance(bare, type) and any(base.__module__ == "pydantic.v1.main" for base in bare.__mro__)


def _typed_dict(hint: Any) -> Any:
    """Return a copy for pydantic, which refuses the TypedDict of the standard library before Python 3.12."""
    from typing_extensions import TypedDict

    fields = {}
    for name, kind in typing.get_type_hints(hint, include_extras=True).items():
        bare = typing.get_args(kind)[0] if typing.get_origin(kind) in (typing.Required, typing.NotRequired) else kind
        inner = _rewritten(bare)
        fields[name] = typing.Required[inner] if name in hint.__required_keys__ else typing.NotRequired[inner]
    return TypedDict(hint.__name__, fields)  # type: ignore[operator]


def _old_model(model: Any) -> Any:
    import pydantic

    def check(value: Any) -> Any:
        return value if isinstance(value, model) else model.parse_obj(value)

    return typing.Annotated[Any, pydantic.PlainValidator(check)]
