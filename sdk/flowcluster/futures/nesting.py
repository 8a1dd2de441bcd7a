"""Futures and states nested in arguments and return values: finding and replacing them at any depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowcluster._util import guarding
from flowcluster.futures import FutureList, RunFuture, containers
from flowcluster.marks import Mark, allow_failure, opaque, quote
from flowcluster.states import State

Leaf = Callable[[Any, bool], Any]


class Slot:
    """Takes the place of the result of an upstream run, in arguments that are sent before the result exists."""

    __slots__ = ("allow_failure", "index")

    def __init__(self, index: int, allow_failure: bool) -> None:
        self.index = index
        self.allow_failure = allow_failure


_LEAVES = (RunFuture, State, Slot)


def replace(value: Any, leaf: Leaf, allowed: bool = False) -> Any:
    """Return the value with `leaf(x, allowed)` in place of each future, state and slot `x` in it.

    Looks into lists, tuples, sets, deques, dicts and their keys, subclasses of these, dataclass instances, attrs
    instances and pydantic models. A container in which nothing is replaced is not copied. Any other is copied, so the
    caller's objects do not change. Circular references stay circular.

    Raises:
        TypeError: an object cannot be copied with results in it; the message has its type.
    """
    if type(value) in containers.PLAIN:
        return value
    walk = _Walk(leaf)
    try:
        result = walk.visit(value, allowed)
        if walk.has_circles and result is not value:
            return _Rebuilding(walk).visit(value, allowed)
    except RecursionError:
        if not _has_leaf(value):
            return value
        raise TypeError(f"A future is nested too deeply in an argument of type {type(value).__name__}.") from None
    return result


def snapshot(value: Any) -> Any:
    """Return the value with copies of the containers that lead to futures, states and slots.

    The caller can change its own containers after that. A value that cannot be copied, or has circular references, is
    returned unchanged.
    """
    walk = _Snapshot(_as_it_is)
    try:
        result = walk.visit(value, False)
    except (RecursionError, TypeError):
        return value
    return value if walk.has_circles else result


def _as_it_is(leaf: Any, allowed: bool) -> Any:
    return leaf


class _Walk:
    """Replaces the leaves in a value. A circular reference keeps the original at first.

    Attributes:
        has_circles: whether the value has circular references.
        results: the replacement of each leaf.
    """

    __slots__ = ("_above", "_done", "_leaf", "_walked", "has_circles", "results")

    def __init__(self, leaf: Leaf) -> None:
        self.has_circles = False
        self.results: dict[tuple[int, bool], Any] = {}
        self._leaf = leaf
        self._above: set[int] = set()
        # Containers and their replacements: a container that several others share is walked once, and stays shared.
        # Containers without containers in them, of which there can be millions, are recorded only if they were
        # replaced.
        self._done: dict[tuple[int, bool], tuple[Any, Any]] = {}
        self._walked = 0

    def visit(self, value: Any, allowed: bool) -> Any:
        """Return the value with its leaves replaced; the value itself if it has none."""
        kind = type(value)
        if kind in containers.PLAIN:
            return value
        shape = containers.EXACT.get(kind)
        if shape is None:
            if isinstance(value, _LEAVES):
                return self.replaced(value, allowed)
            if kind is allow_failure:
                return self.visit(value.value, True)
            if kind is quote:
                return value.value
            if kind is opaque:
                inner = value.value
                return self.replaced(inner, allowed) if isinstance(inner, _LEAVES) else inner
            shape = containers.shape_of(kind)
            if shape is None:
                return value
        parts = shape.parts(value)
        # Without a call for each item: lists of a million numbers are common.
        if containers.PLAIN.issuperset(map(type, parts)) and kind is not FutureList:
            return value
        key = id(value), allowed
        if (known := self._done.get(key)) is not None:
            return known[1]
        self._walked = before = self._walked + 1
        result = self.inside(value, shape, parts, allowed)
        if result is not value or self._walked != before:
            self._done[key] = value, result  # the value is kept, or another object could get its identity
        return result

    def replaced(self, leaf: Any, allowed: bool) -> Any:
        """Return the replacement of a future, a state or a slot."""
        result = self.results[id(leaf), allowed] = self._leaf(leaf, allowed)
        return result

    def inside(self, value: Any, shape: containers.Shape, parts: Sequence[Any], allowed: bool) -> Any:
        """Return a container with its parts replaced."""
        if id(value) in self._above:
            self.has_circles = True
            return value
        self._above.add(id(value))
        try:
            items = [self.visit(part, allowed) for part in parts]
        finally:
            self._above.discard(id(value))
        if type(value) is FutureList:
            return items
        return value if all(map(_same, items, parts)) else _made(value, shape, items)


class _Snapshot(_Walk):
    """Copies the containers that contain leaves at any depth, and keeps leaves and marks."""

    __slots__ = ("_found",)

    def __init__(self, leaf: Leaf) -> None:
        super().__init__(leaf)
        self._found = 0

    def visit(self, value: Any, allowed: bool) -> Any:
        if isinstance(value, quote | opaque):
            return value
        if isinstance(value, allow_failure):
            inner = self.visit(value.value, True)
            return value if inner is value.value else allow_failure(inner)
        return super().visit(value, allowed)

    def replaced(self, leaf: Any, allowed: bool) -> Any:
        self._found += 1
        return leaf

    def inside(self, value: Any, shape: containers.Shape, parts: Sequence[Any], allowed: bool) -> Any:
        if id(value) in self._above:
            self.has_circles = True
            return value
        before = self._found
        self._above.add(id(value))
        try:
            items = [self.visit(part, allowed) for part in parts]
        finally:
            self._above.discard(id(value))
        has_leaves = self._found != before or not all(map(_same, items, parts))
        return _made(value, shape, items) if has_leaves else value


class _Rebuilding(_Walk):
    """Copies all containers of a value with circular references, so that the copy refers to itself."""

    __slots__ = ("_copies",)

    def __init__(self, walk: _Walk) -> None:
        super().__init__(walk._leaf)
        self.results = walk.results
        self._copies: dict[int, Any] = {}

    def replaced(self, leaf: Any, allowed: bool) -> Any:
        key = id(leaf), allowed
        return self.results[key] if key in self.results else super().replaced(leaf, allowed)

    def inside(self, value: Any, shape: containers.Shape, parts: Sequence[Any], allowed: bool) -> Any:
        if id(value) in self._copies:
            return self._copies[id(value)]
        if shape.fill is not None:
            # The copy is recorded before its parts, which can refer to it. Every circle has such a container.
            result = self._copies[id(value)] = _made(value, shape, parts)
            items = [self.visit(part, allowed) for part in parts]
            _checked(value, lambda: shape.fill(value, result, items))  # type: ignore[misc] # it is there
            return result
        items = [self.visit(part, allowed) for part in parts]
        return self._copies.setdefault(id(value), _made(value, shape, items))


def _made(value: Any, shape: containers.Shape, items: Sequence[Any]) -> Any:
    return _checked(value, lambda: shape.make(value, items))


def _checked(value: Any, function: Callable[[], Any]) -> Any:
    try:
        return function()
    except Exception as error:
        raise TypeError(
            f"A future in an object of type {type(value).__name__} cannot be replaced by its result "
            f"({guarding.describe(error)}): pass the future itself, or a list."
        ) from error


def _has_leaf(value: Any) -> bool:
    seen: set[int] = set()
    left = [value]
    while left:
        value = left.pop()
        kind = type(value)
        if kind in containers.PLAIN or id(value) in seen:
            continue
        if isinstance(value, (*_LEAVES, Mark)):
            return True
        seen.add(id(value))
        if (shape := containers.shape_of(kind)) is not None:
            left.extend(shape.parts(value))
    return False


def _same(one: object, other: object) -> bool:
    return one is other
