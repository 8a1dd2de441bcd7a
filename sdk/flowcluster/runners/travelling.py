"""Exceptions on their way from a worker to the driver.

By hand: `pickle` rebuilds an exception by a call of its class with the arguments that ``Exception`` was given. That
fails, or gives another text, where the class's own constructor takes other arguments. Besides, distributed changes how
exceptions are pickled.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

from flowcluster import errors, guarding, pickling

#: Exceptions of a group within a group, and so on, that are taken along.
_DEPTH = 10

_HEAP_TYPE = 1 << 9  # CPython: a class that was made by a ``class`` statement

# The class; the arguments of its built-in base and the attributes, or None and what the class's own `__reduce__`
# returned; the exceptions of a group, as bytes or as texts.
_Parts = tuple[type[BaseException], tuple[Any, ...] | None, Any, "list[bytes | str] | None"]


def dump(error: BaseException, depth: int = _DEPTH) -> bytes | None:
    """Return the exception as bytes for `load`; None if something in it cannot be pickled."""
    kind = type(error)
    try:
        members = None
        if isinstance(error, BaseExceptionGroup):
            members = [(depth and dump(one, depth - 1)) or guarding.describe(one) for one in error.exceptions]
        parts: _Parts
        if members is None and not _is_rebuilt_as_usual(kind):
            parts = (kind, None, error.__reduce__(), None)
        else:
            arguments = error.args[:1] if members is not None else _builtin_base(kind).__reduce__(error)[1]
            parts = (kind, tuple(arguments), _attributes(error), members)
        return pickling.dumps(parts)
    except BaseException as problem:
        if guarding.is_interrupt(problem):
            raise
        return None  # it holds a lock, a connection, or the like; its text has to do


def load(data: bytes) -> BaseException | None:
    """Return the exception; None if this process cannot build it, for instance because it cannot import its class."""
    try:
        kind, arguments, rest, members = pickle.loads(data)
        if arguments is None:
            return _called(kind, rest)
        if members is not None:
            arguments = (*arguments, [_member(one) for one in members])
        error = _rebuilt(kind, arguments)
        _set(error, rest.items())
        return error
    except BaseException as problem:
        if guarding.is_interrupt(problem):
            raise
        return None


def _member(one: bytes | str) -> BaseException:
    error = load(one) if isinstance(one, bytes) else None
    return error or errors.RemoteError(one if isinstance(one, str) else "An exception of a group could not be read.")


def _called(kind: type[BaseException], reduced: Any) -> BaseException | None:
    """Rebuild an exception as its class's own `__reduce__` wants it."""
    error = reduced[0](*reduced[1])
    if not isinstance(error, BaseException):
        return None
    if len(reduced) > 2 and reduced[2] is not None:
        set_state = None if type(error).__setstate__ is BaseException.__setstate__ else error.__setstate__
        if set_state is not None:
            set_state(reduced[2])
        elif isinstance(reduced[2], dict):
            _set(error, reduced[2].items())
    return error


def _rebuilt(kind: type[BaseException], arguments: tuple[Any, ...]) -> BaseException:
    """Make an exception of the class without a call of the class's own code."""
    base = _builtin_base(kind)
    error: BaseException = base.__new__(kind, *arguments)
    # Not the class's own: it takes other arguments. The built-in one derives attributes, such as an error number.
    base.__init__(error, *arguments)
    return error


def _is_rebuilt_as_usual(kind: type[BaseException]) -> bool:
    base = _builtin_base(kind)
    own = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__")
    return all(getattr(kind, name, None) is getattr(base, name, None) for name in own)


def _builtin_base(kind: type[BaseException]) -> Any:
    return next(base for base in kind.__mro__ if not base.__flags__ & _HEAP_TYPE)


def _attributes(error: BaseException) -> dict[str, Any]:
    attributes = {"args": error.args} if not isinstance(error, BaseExceptionGroup) else {}
    attributes |= _builtin_state(error) | vars(error)
    for base in type(error).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(error, name):
                attributes[name] = getattr(error, name)
    return attributes


def _builtin_state(error: BaseException) -> dict[str, Any]:
    """Return what a built-in class keeps besides its arguments, such as the name of an ImportError."""
    reduced = _builtin_base(type(error)).__reduce__(error)
    return reduced[2] if len(reduced) > 2 and isinstance(reduced[2], dict) else {}


def _set(error: BaseException, attributes: Iterable[tuple[str, Any]]) -> None:
    for name, value in attributes:
        try:
            object.__setattr__(error, name, value)
        except AttributeError:  # a property of that name
            vars(error)[name] = value
