"""Looking for futures and states inside of arguments and return values, however deeply they are nested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowcluster import guarding, shapes
from flowcluster.annotations import Mark, allow_failure, opaque, quote
from flowcluster.futures import FutureList, RunFuture
from flowcluster.states import State

Leaf = Callable[[Any, bool], Any]


class Slot:
    """Stands for the result of an upstream run, in arguments that travel before the result exists."""

    __slots__ = ("allow_failure", "index")

    def __init__(self, index: int, allow_failure: bool) -> None:
        self.index = index
        self.allow_failure = allow_failure


_LEAVES = (RunFuture, State, Slot)


def replace(value: Any, leaf: Leaf, allowed: bool = False) -> Any:
    """Return the value with `leaf(x, allowed)` in place of each future, state and slot `x` in it.

    Looks into lists, tuples, sets, deques, dicts and their keys, subclasses of these, dataclass instances, attrs
    instances and pydantic models. What does not change is not copied, and what does is a copy: the caller's objects
    stay as they are. What leads back to itself still does.

    Raises TypeError, which names the type, for an object that cannot be copied with results in it.
    """
    if type(value) in shapes.PLAIN:
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

    The caller can change its own ones from then on. What cannot be copied, or leads back to itself, stays as it is.
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
    """Replaces what is in a value; where the value leads back to itself, the original stays for now.

    Attributes:
        has_circles: whether it does.
        results: what each leaf was replaced by.
    """

    __slots__ = ("_above", "_done", "_leaf", "_walked", "has_circles", "results")

    def __init__(self, leaf: Leaf) -> None:
        self.has_circles = False
        self.results: dict[tuple[int, bool], Any] = {}
        self._leaf = leaf
        self._above: set[int] = set()
        # Containers and what takes their places: one that several others share is walked once, and stays one. Those
        # without containers in them, of which there can be millions, are here only if they were replaced.
        self._done: dict[tuple[int, bool], tuple[Any, Any]] = {}
        self._walked = 0

    def visit(self, value: Any, allowed: bool) -> Any:
        """Return the value with what is in it replaced, or the value itself if nothing is."""
        kind = type(value)
        if kind in shapes.PLAIN:
            return value
        shape = shapes.EXACT.get(kind)
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
            shape = shapes.shape_of(kind)
            if shape is None:
                return value
        parts = shape.parts(value)
        # Without a call for each item: a list of a million numbers is common.
        if shapes.PLAIN.issuperset(map(type, parts)) and kind is not FutureList:
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
        """Return what takes the place of a future, a state or a slot."""
        result = self.results[id(leaf), allowed] = self._leaf(leaf, allowed)
        return result

    def inside(self, value: Any, shape: shapes.Shape, parts: Sequence[Any], allowed: bool) -> Any:
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
    """Copies the containers that lead to leaves, and keeps leaves and marks."""

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

    def inside(self, value: Any, shape: shapes.Shape, parts: Sequence[Any], allowed: bool) -> Any:
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
    """Copies all containers of a value that leads back to itself, so that the copy leads back to the copy."""

    __slots__ = ("_copies",)

    def __init__(self, walk: _Walk) -> None:
        super().__init__(walk._leaf)
        self.results = walk.results
        self._copies: dict[int, Any] = {}

    def replaced(self, leaf: Any, allowed: bool) -> Any:
        key = id(leaf), allowed
        return self.results[key] if key in self.results else super().replaced(leaf, allowed)

    def inside(self, value: Any, shape: shapes.Shape, parts: Sequence[Any], allowed: bool) -> Any:
        if id(value) in self._copies:
            return self._copies[id(value)]
        if shape.fill is not None:
            # The copy is there before its parts, which can lead to it. Every circle has such a container.
            result = self._copies[id(value)] = _made(value, shape, parts)
            items = [self.visit(part, allowed) for part in parts]
            _checked(value, lambda: shape.fill(value, result, items))  # type: ignore[misc] # it is there
            return result
        items = [self.visit(part, allowed) for part in parts]
        return self._copies.setdefault(id(value), _made(value, shape, items))


def _made(value: Any, shape: shapes.Shape, items: Sequence[Any]) -> Any:
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
        if kind in shapes.PLAIN or id(value) in seen:
            continue
        if isinstance(value, (*_LEAVES, Mark)):
            return True
        seen.add(id(value))
        if (shape := shapes.shape_of(kind)) is not None:
            left.extend(shape.parts(value))
    return False


def _same(one: object, other: object) -> bool:
    return one is other
