"""Marks that a caller puts on the arguments of ``.submit`` and ``.map``."""

from __future__ import annotations

from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Mark(Generic[T_co]):
    """The base of all marks.

    Attributes:
        value: the marked value.
    """

    __slots__ = ("value",)

    def __init__(self, value: T_co) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"


class allow_failure(Mark[T_co]):
    """Start the task even if `value`, a future, fails. The task then receives the exception.

    The mark also applies to the items of a collection, and in ``wait_for``.
    """

    __slots__ = ()


class unmapped(Mark[T_co]):
    """Pass `value` unchanged to every run of a ``.map``, even if it can be iterated."""

    __slots__ = ()


class quote(Mark[T_co]):
    """Pass `value` unchanged: futures and states in it are neither awaited nor replaced."""

    __slots__ = ()


class opaque(Mark[T_co]):
    """Do not search inside `value` for futures, because that takes time in a large collection.

    If it is a future itself, it is replaced by its result.
    """

    __slots__ = ()
