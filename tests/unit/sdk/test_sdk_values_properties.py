"""Properties of futures in all values, of all calls of a map, and of all sets of futures."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy
import pydantic
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flowcluster import allow_failure, opaque, quote, states, unmapped
from flowcluster.engine import inputs, mapping
from flowcluster.errors import MapError
from flowcluster.futures import FutureList, TaskFuture, as_completed, wait
from flowcluster.futures.nesting import replace
from flowcluster.runners import worker_body
from flowcluster.runners.failure import TaskFailure
from flowcluster.states import State

T = TypeVar("T")


class Case(NamedTuple):
    """A value with futures in it, and the value after replacement.

    Attributes:
        value: the value.
        result: the value with results in place of the futures.
        futures: the replaced futures, in the order of the search.
    """

    value: Any
    result: Any
    futures: list[TaskFuture[Any]]


class Pair(NamedTuple):
    """A named tuple that contains futures."""

    one: Any
    other: Any


@dataclasses.dataclass
class Record:
    """A dataclass that contains futures."""

    one: Any
    other: Any = None


class TaskError(Exception):
    """An error of a task that is equal to its unpickled copy."""

    def __eq__(self, other: object) -> bool:
        return type(other) is TaskError and other.args == self.args

    __hash__ = Exception.__hash__


def settled(state: State, name: str = "settled-0") -> TaskFuture[Any]:
    """Return a future that ended in `state`."""
    future: TaskFuture[Any] = TaskFuture(name)
    future.settle(state)
    return future


def completed(value: Any) -> Case:
    future = settled(states.completed(value))
    return Case(future, value, [future])


def allowed(error: Exception) -> Case:
    future = settled(states.failed("no", error))
    return Case(allow_failure(future), error, [future])


def quoted(value: Any) -> Case:
    kept = [settled(states.completed(value))]
    return Case(quote(kept), kept, [])


def opaque_collection(value: Any) -> Case:
    kept = [settled(states.completed(value))]
    return Case(opaque(kept), kept, [])


def opaque_future(value: Any) -> Case:
    future = settled(states.completed(value))
    return Case(opaque(future), value, [future])


def combined(make: Callable[[list[Any]], Any], cases: list[Case]) -> Case:
    """Return the case of a collection of other cases' values."""
    futures = [future for case in cases for future in case.futures]
    return Case(make([case.value for case in cases]), make([case.result for case in cases]), futures)


def in_dict(items: list[Any]) -> dict[str, Any]:
    return {f"key {place}": item for place, item in enumerate(items)}


def in_pair(items: list[Any]) -> Pair:
    return Pair(items, tuple(items))


def in_record(items: list[Any]) -> Record:
    return Record(items[0] if items else None, items[1:])


def in_future_list(numbers: list[int]) -> Case:
    """A list as ``.map`` returns it becomes a plain list."""
    cases = [completed(number) for number in numbers]
    return Case(FutureList(case.value for case in cases), numbers, [case.value for case in cases])


def in_set(numbers: set[int]) -> Case:
    futures = frozenset(completed(number).value for number in numbers)
    return Case(futures, frozenset(numbers), list(futures))


def twice(case: Case) -> Case:
    return combined(list, [case, case])


SCALARS = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(allow_nan=False)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(), inner, max_size=4),
        st.frozensets(SCALARS, max_size=4),
        st.builds(Record, inner, inner),
        st.builds(Pair, inner, inner),
    ),
    max_leaves=10,
)
LEAVES = st.one_of(
    PLAIN.map(lambda value: Case(value, value, [])),
    PLAIN.map(completed),
    PLAIN.map(lambda value: Case(states.completed(value), value, [])),
    st.builds(TaskError, st.integers()).map(allowed),
    PLAIN.map(quoted),
    PLAIN.map(opaque_collection),
    PLAIN.map(opaque_future),
    st.lists(st.integers(), max_size=4).map(in_future_list),
    st.sets(st.integers(), max_size=4).map(in_set),
)
CASES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(combined, st.sampled_from([list, tuple, in_dict, in_record]), st.lists(inner, max_size=4)),
        inner.map(twice),
    ),
    max_leaves=6,
)


class Settings(pydantic.BaseModel):
    host: str
    port: int


class Unsized:
    """An iterable whose `__len__` raises, like a progress bar around a generator."""

    def __init__(self, items: list[int]) -> None:
        self.items = items

    def __len__(self) -> int:
        raise TypeError("no length")

    def __iter__(self) -> Iterator[int]:
        return iter(self.items)


class TestNesting:
    """Futures in values of any structure."""

    @given(CASES)
    def test_futures_are_replaced_by_their_results(self, case: Case) -> None:
        assert inputs.values_of(case.value) == case.result
        assert type(inputs.values_of(case.value)) is type(case.result)
        assert inputs.values_of(case.value) == case.result  # the caller's value is not changed

    @given(CASES)
    def test_each_future_is_found_once_in_order(self, case: Case) -> None:
        assert inputs.futures_in(case.value) == list(dict.fromkeys(case.futures))

    @given(PLAIN)
    def test_value_without_futures_is_the_same_object(self, value: Any) -> None:
        assert inputs.values_of(value) is value
        assert inputs.find_futures(value) == ([], True)

    @given(CASES, st.sampled_from([states.pending(), states.failed("no"), states.upstream_not_ready("first-0")]))
    def test_future_that_did_not_complete_is_named(self, case: Case, state: State) -> None:
        blocked = Record([case.value, {"here": settled(state, "blocked-0")}])

        for read in (inputs.values_of, inputs.check):
            with pytest.raises(inputs.NotReady, match="'blocked-0'"):
                read(blocked)

    @given(CASES, st.booleans())
    def test_failed_future_is_replaced_by_its_exception_when_failure_is_allowed(self, case: Case, ended: bool) -> None:
        error = ValueError("no")
        value = allow_failure([case.value, settled(states.failed("no", error) if ended else states.pending())])

        if ended:
            inputs.check(value)
            assert inputs.values_of(value) == [case.result, error]
        else:
            with pytest.raises(inputs.NotReady):
                inputs.values_of(value)

    @given(CASES, st.randoms(use_true_random=False))
    def test_slots_are_filled_with_the_results_of_their_futures(self, case: Case, random: Any) -> None:
        found = inputs.futures_in(case.value)
        chained = {future: place for place, future in enumerate(random.sample(found, random.randint(0, len(found))))}
        upstream = tuple(
            future.state.result() if future.state.is_completed() else TaskFailure(future.name, future.state)
            for future in chained
        )
        with_slots = inputs.slots_for(case.value, chained)

        assert inputs.futures_in(with_slots) == inputs.futures_in(inputs.values_of(case.value))
        assert worker_body.fill(with_slots, upstream) == case.result

    @given(CASES)
    def test_value_is_not_copied_when_no_leaf_is_replaced(self, case: Case) -> None:
        seen: list[Any] = []

        def keep(leaf: Any, _: bool) -> Any:
            seen.append(leaf)
            return leaf

        replace(case.value, keep)

        # The search visits a container that occurs twice once.
        assert list(dict.fromkeys(leaf for leaf in seen if isinstance(leaf, TaskFuture))) == list(
            dict.fromkeys(case.futures)
        )


class TestMapping:
    """The calls of a map."""

    @given(st.data(), st.integers(0, 5), st.integers(1, 3), st.integers(0, 2))
    def test_each_call_gets_one_item_of_each_iterable(
        self, data: st.DataObject, length: int, positional: int, named: int
    ) -> None:
        columns = [
            data.draw(st.lists(st.integers(), min_size=length, max_size=length)) for _ in range(positional + named)
        ]
        shapes: list[Callable[[list[int]], Iterable[int]]] = [list, tuple, iter]
        given = [data.draw(st.sampled_from(shapes))(column) for column in columns]
        whole = data.draw(st.sampled_from(["text", b"bytes", 5, None]))
        args = (*given[:positional], unmapped([1, 2, 3]), whole)
        kwargs: dict[str, Any] = {f"named_{place}": column for place, column in enumerate(given[positional:])}
        kwargs["whole"] = whole

        calls = list(mapping.calls(args, kwargs))

        assert len(calls) == length
        for place, (call_args, call_kwargs) in enumerate(calls):
            items = [column[place] for column in columns]
            assert call_args == (*items[:positional], [1, 2, 3], whole)
            assert list(call_kwargs) == list(kwargs)
            assert list(call_kwargs.values()) == [*items[positional:], whole]

    @given(st.lists(st.integers(), max_size=4))
    def test_result_of_a_future_is_mapped_over(self, items: list[int]) -> None:
        future = settled(states.completed(items))

        assert [args for args, _ in mapping.calls((future,), {})] == [(item,) for item in items]
        assert [args for args, _ in mapping.calls((future.state,), {})] == [(item,) for item in items]
        marked = [args[0] for args, _ in mapping.calls((allow_failure(future),), {})]
        assert [(type(mark), mark.value) for mark in marked] == [(allow_failure, item) for item in items]

    @given(st.lists(st.integers(), max_size=4), st.lists(st.integers(), max_size=4))
    def test_lengths_that_differ_are_reported(self, one: list[int], other: list[int]) -> None:
        assume(len(one) != len(other))
        with pytest.raises(MapError, match=rf"argument 0 has {len(one)}, argument 'other' has {len(other)}"):
            list(mapping.calls((one,), {"other": other}))

    @given(st.lists(st.integers(), max_size=4), st.booleans())
    def test_infinite_iterators_are_refused_beside_a_list(self, items: list[int], is_marked: bool) -> None:
        endless = itertools.count()
        with pytest.raises(MapError, match=rf"argument 0 has {len(items) + 1} or more, argument 1 has {len(items)}\."):
            list(mapping.calls((allow_failure(endless) if is_marked else endless, items), {}))
        assert next(endless) == len(items) + 1

    @given(st.lists(st.integers(), min_size=1, max_size=4))
    def test_values_that_are_not_iterated_are_passed_to_every_call(self, items: list[int]) -> None:
        for whole in (Settings(host="a", port=len(items)), numpy.array(5)):
            assert [args for args, _ in mapping.calls((items, whole), {})] == [(item, whole) for item in items]

    @given(st.lists(st.integers(), max_size=4))
    def test_iterables_without_a_length_are_mapped_over(self, items: list[int]) -> None:
        assert [args for args, _ in mapping.calls((Unsized(items), items), {})] == [(item, item) for item in items]

    @given(st.lists(st.integers(), min_size=1, max_size=4), PLAIN, st.sampled_from([allow_failure, quote, opaque]))
    def test_value_that_is_not_mapped_keeps_its_other_mark(self, items: list[int], value: Any, mark: Any) -> None:
        for marked in (unmapped(mark(value)), mark(unmapped(value))):
            for (_, kept), _ in mapping.calls((items, marked), {}):
                assert type(kept) is mark
                assert kept.value is value

    @given(st.lists(SCALARS | PLAIN.map(unmapped)))
    def test_arguments_that_cannot_be_iterated_are_refused(self, args: list[Any]) -> None:
        with pytest.raises(MapError, match="at least one argument"):
            list(mapping.calls(tuple(args), {}))


class TestGathering:
    """Functions of several futures."""

    @given(st.integers(0, 8).flatmap(lambda count: st.permutations(range(count))), st.integers(0, 8))
    def test_futures_are_yielded_in_the_order_of_their_ends(self, order: list[int], before: int) -> None:
        futures: list[TaskFuture[int]] = [TaskFuture(f"run-{number}") for number in order]
        for number in order[:before]:
            futures[number].settle(states.completed(number))
        ended = as_completed([*futures, *futures])  # each once
        for number in order[before:]:
            futures[number].settle(states.completed(number))
        found = [future.state.result() for future in ended]

        assert sorted(found) == sorted(order)
        assert found[before:] == order[before:]
        assert FutureList(futures).result() == list(range(len(order)))

    @given(st.lists(st.booleans(), max_size=8))
    def test_wait_returns_done_and_not_done_futures(self, ends: list[bool]) -> None:
        futures: list[TaskFuture[None]] = [TaskFuture(f"run-{number}") for number in range(len(ends))]
        for future, has_ended in zip(futures, ends, strict=True):
            if has_ended:
                future.settle(states.failed("no"))
        done, not_done = wait(futures, timeout=0)

        assert done == [future for future, has_ended in zip(futures, ends, strict=True) if has_ended]
        assert not_done == [future for future, has_ended in zip(futures, ends, strict=True) if not has_ended]

    @given(st.lists(st.integers() | st.builds(ValueError), max_size=8))
    def test_results_of_a_list_are_in_its_order(self, outcomes: list[int | ValueError]) -> None:
        futures = FutureList(
            settled(states.failed("no", outcome) if isinstance(outcome, ValueError) else states.completed(outcome))
            for outcome in outcomes
        )
        first = next((outcome for outcome in outcomes if isinstance(outcome, ValueError)), None)

        assert futures.result(raise_on_failure=False) == outcomes
        if first is None:
            assert futures.result() == outcomes
        else:
            with pytest.raises(ValueError) as caught:  # noqa: PT011 - the very object is compared
                futures.result()
            assert caught.value is first
