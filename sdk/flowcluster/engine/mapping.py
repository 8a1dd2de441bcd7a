"""``task.map``: one call per item of the arguments that can be iterated."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sized
from typing import Any

from flowcluster.annotations import Mark, allow_failure, unmapped
from flowcluster.errors import MapError
from flowcluster.futures import RunFuture
from flowcluster.states import State
from flowcluster.waiting import wait_blocking


def calls(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """The arguments of each call. Raises `MapError` when nothing can be iterated or lengths differ."""
    places: dict[int | str, Any] = dict(enumerate(args))
    places.update(kwargs)
    mapped = {place: found for place, value in places.items() if (found := _mapped(value)) is not None}
    if not mapped:
        raise MapError("map needs at least one argument that can be iterated and is not unmapped.")
    # An iterator that does not end is of another length than a list beside it: it is not read any further than that.
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
    """An argument as every call gets it: without the mark `unmapped`, which may be inside of another one."""
    if isinstance(value, unmapped):
        return value.value
    if isinstance(value, Mark) and isinstance(value.value, unmapped):
        return type(value)(value.value.value)
    return value


def _mapped(value: Any) -> tuple[Iterable[Any], bool] | None:
    """What an argument gives an item of to each call, and whether failures are allowed in it.

    None if every call gets the argument as it is.
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
    """Whether a value has items. A pydantic model has fields, and an array without dimensions has one value."""
    if not isinstance(value, Iterable) or hasattr(type(value), "__pydantic_fields__"):
        return False
    return getattr(value, "shape", None) != ()


def _length(items: Iterable[Any]) -> int | None:
    """How many items there are; None for what does not know it, such as a generator or a progress bar around one."""
    try:
        return len(items) if isinstance(items, Sized) else None
    except TypeError:
        return None


def _column(items: Iterable[Any], is_allowed: bool, least: int | None) -> list[Any]:
    """The items as a list; of those that do not have a length, one more than `least` at most."""
    if least is not None and _length(items) is None:
        items = itertools.islice(items, least + 1)
    return [allow_failure(item) for item in items] if is_allowed else list(items)
