"""``task.map``: one call per item of the arguments that can be iterated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    columns: dict[int | str, list[Any]] = {}
    for place, value in places.items():
        column = _column(value)
        if column is not None:
            columns[place] = column
    if not columns:
        raise MapError("map needs at least one argument that can be iterated and is not unmapped.")
    lengths = {place: len(column) for place, column in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"argument {place!r} has {length}" for place, length in lengths.items())
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


def _column(value: Any) -> list[Any] | None:
    """The items of an argument, or None if every call gets the argument as it is."""
    if isinstance(value, allow_failure):
        items = _column(value.value)
        return None if items is None else [allow_failure(item) for item in items]
    if isinstance(value, RunFuture):
        if not value.is_settled:
            wait_blocking(value.when_done)
        value = value.state
    if isinstance(value, State):
        value = value.result()
    if isinstance(value, unmapped | str | bytes) or not isinstance(value, Iterable):
        return None
    return list(value)
