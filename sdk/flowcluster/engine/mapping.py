"""``task.map``: one call per item of the arguments that can be iterated."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sized
from typing import Any

from flowcluster._util.waiting import wait_blocking
from flowcluster.errors import MapError
from flowcluster.futures import RunFuture
from flowcluster.marks import Mark, allow_failure, unmapped
from flowcluster.states import State


def calls(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Yield the arguments of each call.

    Raises:
        MapError: no argument can be iterated, or lengths differ.
    """
    places: dict[int | str, Any] = dict(enumerate(args))
    places.update(kwargs)
    mapped = {place: found for place, value in places.items() if (found := _mapped(value)) is not None}
    if not mapped:
        raise MapError("map needs at least one argument that can be iterated and is not unmapped.")
    # An infinite iterator differs in length from a list. To detect that, at most one item more than the list has is
    # read.
    known = [length for items, _ in mapped.values() if (length := _length(items)) is not None]
    least = min(known, default=None)
    columns = {place: _column(items, is_allowed, least) for place, (items, is_allowed) in mapped.items()}
    lengths = {place: len(column) for place, column in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(
            f"argument {place!r} has {length}{'' if _length(mapped[place][0]) is not None else ' or more'}"
            for place, length in lengths.items()
        )
        raise MapError(f"map needs iterables of one length, but {shown}.")

    def at(place: int | str, number: int) -> Any:
        if place in columns:
            return columns[place][number]
        return _not_mapped(places[place])

    for number in range(next(iter(lengths.values()))):
        yield tuple(at(place, number) for place in range(len(args))), {name: at(name, number) for name in kwargs}


def _not_mapped(value: Any) -> Any:
    """Return an argument that every call gets, without the mark `unmapped`, which can be inside of another mark."""
    if isinstance(value, unmapped):
        return value.value
    if isinstance(value, Mark) and isinstance(value.value, unmapped):
        return type(value)(value.value.value)
    return value


def _mapped(value: Any) -> tuple[Iterable[Any], bool] | None:
    """Return the items of an argument that is mapped over, and whether failures are allowed in them.

    Return None if every call gets the whole argument.
    """
    if isinstance(value, allow_failure):
        inner = _mapped(value.value)
        return None if inner is None else (inner[0], True)
    if isinstance(value, RunFuture):
        if not value.is_settled:
            wait_blocking(value.when_done)
        value = value.state
    if isinstance(value, State):
        value = value.result()
    if isinstance(value, unmapped | str | bytes) or not _is_iterable(value):
        return None
    return value, False


def _is_iterable(value: Any) -> bool:
    """Return whether a value has items. A pydantic model has fields, an array without dimensions has one value."""
    if not isinstance(value, Iterable) or hasattr(type(value), "__pydantic_fields__"):
        return False
    return getattr(value, "shape", None) != ()


def _length(items: Iterable[Any]) -> int | None:
    """Return the number of items; None if it is not known, as of a generator or a progress bar around one."""
    try:
        return len(items) if isinstance(items, Sized) else None
    except TypeError:
        return None


def _column(items: Iterable[Any], is_allowed: bool, least: int | None) -> list[Any]:
    """Return the items as a list; without a known length, at most one more than `least`."""
    if least is not None and _length(items) is None:
        items = itertools.islice(items, least + 1)
    return [allow_failure(item) for item in items] if is_allowed else list(items)
