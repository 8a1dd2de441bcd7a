"""Pickle exceptions on workers, and unpickle them in the driver.

`pickle` itself rebuilds an exception by a call of its class with the arguments that ``Exception`` got. This call fails,
or results in another text, if the class's own constructor has other parameters. Besides, distributed changes how
`pickle` handles exceptions.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any, NamedTuple

from flowcluster import errors
from flowcluster._util import guarding, pickling
from flowcluster.project.source import cleaned

#: Maximum levels of groups within groups, causes of causes, and so on, that are pickled.
_DEPTH = 10

_HEAP_TYPE = 1 << 9  # CPython's flag of a class that a ``class`` statement made

# A pickled exception has five parts:
# 1. The class.
# 2. The arguments of its built-in base; None if the class has its own `__reduce__`.
# 3. The attributes; or the value that the class's own `__reduce__` returned.
# 4. The exceptions of a group, as bytes or as texts; None for another exception.
# 5. The cause or context, if any.
_Parts = tuple[type[BaseException], tuple[Any, ...] | None, Any, "list[bytes | str] | None", "_Link | None"]


class _Link(NamedTuple):
    """The cause or the context of an exception.

    Attributes:
        name: ``__cause__`` or ``__context__``.
        data: the cause or context as bytes for `load`; None if a part of it cannot be pickled.
        text: its type and text.
        is_hidden: whether tracebacks omit the context, as after ``from None``.
    """

    name: str
    data: bytes | None
    text: str
    is_hidden: bool


def dump(error: BaseException, depth: int = _DEPTH) -> bytes | None:
    """Return the exception as bytes for `load`; None if a part of it cannot be pickled."""
    kind = type(error)
    try:
        members = None
        if isinstance(error, BaseExceptionGroup):
            members = [(depth and dump(one, depth - 1)) or cleaned(guarding.describe(one)) for one in error.exceptions]
        link = _link(error, depth - 1) if depth else None
        parts: _Parts
        if members is None and not _is_rebuilt_as_usual(kind):
            parts = (kind, None, error.__reduce__(), None, link)
        else:
            arguments = error.args[:1] if members is not None else _builtin_base(kind).__reduce__(error)[1]
            parts = (kind, tuple(arguments), _attributes(error), members, link)
        return pickling.dumps(parts)
    except BaseException as problem:
        if guarding.is_interrupt(problem):
            raise
        return None  # it holds a lock, a connection, or the like: the driver gets its text only


def load(data: bytes) -> BaseException | None:
    """Return the exception; None if this process cannot build it, for instance because it cannot import its class."""
    try:
        kind, arguments, rest, members, link = pickle.loads(data)
        error: BaseException | None
        if arguments is None:
            error = _called(kind, rest)
        else:
            if members is not None:
                arguments = (*arguments, [_member(one) for one in members])
            error = _rebuilt(kind, arguments)
            _set(error, rest.items())
        if error is not None and link is not None:
            _set_link(error, link)
        return error
    except BaseException as problem:
        if guarding.is_interrupt(problem):
            raise
        return None


def _member(one: bytes | str) -> BaseException:
    error = load(one) if isinstance(one, bytes) else None
    if error is not None:
        return error
    return errors.RemoteError(one if isinstance(one, str) else "An exception of a group could not be read.")


def _link(error: BaseException, depth: int) -> _Link | None:
    # Only one of the two: a traceback shows the cause, not the context. Both would double the number at each level.
    for name in ("__cause__", "__context__"):
        other = chained(error, name)
        # The traceback of this exception already contains the text of a `RemoteTraceback`.
        if other is not None and not isinstance(other, errors.RemoteTraceback):
            return _Link(name, dump(other, depth), cleaned(guarding.describe(other)), error.__suppress_context__)
    return None


def _set_link(error: BaseException, link: _Link) -> None:
    other = load(link.data) if link.data is not None else None
    chain(error, link.name, errors.RemoteError(link.text) if other is None else other)
    vars(BaseException)["__suppress_context__"].__set__(error, link.is_hidden)


def chained(error: BaseException, name: str = "__cause__") -> BaseException | None:
    """Return the exception's ``__cause__`` or ``__context__``, without calling its class's own code."""
    other: BaseException | None = vars(BaseException)[name].__get__(error)
    return other


def chain(error: BaseException, name: str, other: BaseException) -> None:
    """Set the exception's ``__cause__`` or ``__context__``, also if its class refuses assignments."""
    vars(BaseException)[name].__set__(error, other)


def _called(kind: type[BaseException], reduced: Any) -> BaseException | None:
    """Rebuild an exception from the value that its class's own `__reduce__` returned."""
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
    """Make an exception of the class without calling the class's own code."""
    base = _builtin_base(kind)
    error: BaseException = base.__new__(kind, *arguments)
    # Not the class's own `__init__`, which can have other parameters. The built-in one also derives attributes, such as
    # an error number.
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
    """Return the attributes that a built-in class keeps besides its arguments, such as the name of an ImportError."""
    reduced = _builtin_base(type(error)).__reduce__(error)
    return reduced[2] if len(reduced) > 2 and isinstance(reduced[2], dict) else {}


def _set(error: BaseException, attributes: Iterable[tuple[str, Any]]) -> None:
    for name, value in attributes:
        try:
            object.__setattr__(error, name, value)
        except AttributeError:  # a property of that name
            vars(error)[name] = value
