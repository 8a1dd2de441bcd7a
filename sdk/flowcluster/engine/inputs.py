"""What becomes of futures and states among the arguments of a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flowcluster.futures import RunFuture
from flowcluster.nesting import Slot, replace
from flowcluster.shapes import PLAIN
from flowcluster.states import State, upstream_not_ready
from flowcluster.waiting import Colour

#: What callers give as ``wait_for``.
WaitFor = Iterable[Any] | RunFuture[Any]


class NotReady(Exception):
    """Something that a run waits for did not complete; carries the run's state."""

    def __init__(self, name: str) -> None:
        self.state = upstream_not_ready(name)
        super().__init__(self.state.message)


def listed(wait_for: WaitFor) -> list[Any]:
    """What a caller gave as ``wait_for``; a lone future counts as a list of one."""
    return [wait_for] if isinstance(wait_for, RunFuture) else list(wait_for)


def futures_in(value: Any) -> list[RunFuture[Any]]:
    """The futures in a value, each once, in the order in which they are met."""
    return look(value)[0]


async def ended(futures: Iterable[RunFuture[Any]], colour: Colour) -> None:
    """Wait until all runs have ended."""
    for future in futures:
        if not future.is_settled:
            await colour.wait(future.when_done)


def look_at_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[RunFuture[Any]], bool]:
    """Return what `look` returns for the arguments of a call, and fast for the simple ones that most calls have."""
    if PLAIN.issuperset(map(type, args)) and PLAIN.issuperset(map(type, kwargs.values())):
        return [], True
    return look((args, kwargs))


def look(value: Any) -> tuple[list[RunFuture[Any]], bool]:
    """The futures in a value, and whether there is nothing at all in it that has to be replaced."""
    found: dict[RunFuture[Any], None] = {}
    is_plain = True

    def note(leaf: Any, _: bool) -> Any:
        nonlocal is_plain
        is_plain = False
        if isinstance(leaf, RunFuture):
            found[leaf] = None
        return leaf

    # Marks are taken off by that, which makes it another value.
    same = replace(value, note) is value
    return list(found), is_plain and same


def values_of(value: Any) -> Any:
    """The value with results instead of futures and states, all of which have ended.

    Raises `NotReady` at the first that did not complete, unless it is marked with `allow_failure`:
    then its exception takes its place.
    """
    return replace(value, result_of)


def result_of(leaf: RunFuture[Any] | State, allowed: bool) -> Any:
    """The result of one future or state, by the rule of `values_of`."""
    state = leaf.state if isinstance(leaf, RunFuture) else leaf
    if state.is_completed():
        return state.result()
    # A run that never started has no exception to pass on, so `allow_failure` does not cover it.
    if allowed and state.is_final():
        return state.exception()
    raise NotReady(leaf.name if isinstance(leaf, RunFuture) else str(leaf))


def check(value: Any) -> None:
    """Raise `NotReady` if something in `value` did not complete and is not marked with `allow_failure`."""

    def check_leaf(leaf: Any, allowed: bool) -> Any:
        state = leaf.state if isinstance(leaf, RunFuture) else leaf
        if not state.is_completed() and not (allowed and state.is_final()):
            raise NotReady(leaf.name if isinstance(leaf, RunFuture) else str(leaf))
        return leaf

    replace(value, check_leaf)


def slots_for(value: Any, chained: dict[RunFuture[Any], int]) -> Any:
    """The value with a `Slot` for each future in `chained`, and results instead of all others."""

    def fill(leaf: RunFuture[Any] | State, allowed: bool) -> Any:
        if isinstance(leaf, RunFuture) and leaf in chained:
            return Slot(chained[leaf], allowed)
        return result_of(leaf, allowed)

    return replace(value, fill)
