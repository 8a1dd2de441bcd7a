"""Marks that a caller puts on the arguments of ``.submit`` and ``.map``."""

from __future__ import annotations

from typing import Any


class allow_failure:
    """Start the task even when `value`, a future, fails; it then receives the exception.

    Also for the items of a collection, and in ``wait_for``.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"allow_failure({self.value!r})"


class unmapped:
    """Give `value` as it is to every run of a ``.map``, even if it can be iterated."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"unmapped({self.value!r})"
