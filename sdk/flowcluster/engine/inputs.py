"""Futures and states among the arguments of a run: finding them, waiting for them, replacing them by results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flowcluster._util.waiting import WaitStrategy
from flowcluster.futures import RunFuture
from flowcluster.futures.containers import PLAIN
from flowcluster.futures.nesting import Slot, replace
from flowcluster.states import State, upstream_not_ready

#: The types of ``wait_for``.
WaitFor = Iterable[Any] | RunFuture[Any]


class NotReady(Exception):
    """An upstream run did not complete.

    Attributes:
        state: the state of the run that waits for it.
    """

    def __init__(self, name: str) -> None:
        self.state = upstream_not_ready(name)
        super().__init__(self.state.message)


def listed(wait_for: WaitFor) -> list[Any]:
    """Return ``wait_for`` as a list."""
    return [wait_for] if isinstance(wait_for, RunFuture) else list(wait_for)


def futures_in(value: Any) -> list[RunFuture[Any]]:
    """Return the futures in a value, each once, in order."""
    return find_futures(value)[0]


async def wait_until_ended(futures: Iterable[RunFuture[Any]], strategy: WaitStrategy) -> None:
    """Wait until all runs have ended."""
    for future in futures:
        if not future.is_settled:
            await strategy.wait(future.when_done)


def find_futures_in_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[RunFuture[Any]], bool]:
    """Return what `find_futures` returns for the arguments of a call; fast for the plain ones that most calls have."""
    if PLAIN.issuperset(map(type, args)) and PLAIN.issuperset(map(type, kwargs.values())):
        return [], True
    return find_futures((args, kwargs))


def find_futures(value: Any) -> tuple[list[RunFuture[Any]], bool]:
    """Return the futures in a value, and whether nothing in the value has to be replaced."""
    found: dict[RunFuture[Any], None] = {}
    is_plain = True

    def note(leaf: Any, _: bool) -> Any:
        nonlocal is_plain
        is_plain = False
        if isinstance(leaf, RunFuture):
            found[leaf] = None
        return leaf

    # `replace` removes marks, so it returns another object for a value with marks.
    same = replace(value, note) is value
    return list(found), is_plain and same


def values_of(value: Any) -> Any:
    """Return the value with results in place of futures and states, all of which have ended.

    Raises:
        NotReady: a run did not complete. If it is marked with `allow_failure`, its exception takes its place instead.
    """
    return replace(value, result_of)


def result_of(leaf: RunFuture[Any] | State, allowed: bool) -> Any:
    """Return the result of one future or state, by the rule of `values_of`."""
    state = leaf.state if isinstance(leaf, RunFuture) else leaf
    if state.is_completed():
        return state.result()
    # A run that never started has no exception, so `allow_failure` does not cover it.
    if allowed and state.is_final():
        return state.exception()
    raise NotReady(leaf.name if isinstance(leaf, RunFuture) else str(leaf))


def check(value: Any) -> None:
    """Raise `NotReady` if a run in `value` did not complete and is not marked with `allow_failure`."""

    def check_leaf(leaf: Any, allowed: bool) -> Any:
        state = leaf.state if isinstance(leaf, RunFuture) else leaf
        if not state.is_completed() and not (allowed and state.is_final()):
            raise NotReady(leaf.name if isinstance(leaf, RunFuture) else str(leaf))
        return leaf

    replace(value, check_leaf)


def slots_for(value: Any, chained: dict[RunFuture[Any], int]) -> Any:
    """Return the value with a `Slot` for each future in `chained`, and results in place of all others."""

    def fill(leaf: RunFuture[Any] | State, allowed: bool) -> Any:
        if isinstance(leaf, RunFuture) and leaf in chained:
            return Slot(chained[leaf], allowed)
        return result_of(leaf, allowed)

    return replace(value, fill)
