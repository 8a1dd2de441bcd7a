"""Looking for futures in values of any shape."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import pytest

from flowcluster import allow_failure, states
from flowcluster.engine import inputs
from flowcluster.futures import TaskFuture
from flowcluster.nesting import Slot, replace


def settled(value: Any) -> TaskFuture[Any]:
    future: TaskFuture[Any] = TaskFuture("settled-0")
    future.settle(states.completed(value))
    return future


@dataclasses.dataclass(slots=True)
class Slotted:
    value: Any
    derived: Any = dataclasses.field(init=False, default=None)

    def __post_init__(self) -> None:
        self.derived = "kept"


@pytest.mark.parametrize(
    "value", [1, "x", None, [1, [2]], (1,), {"a": [1]}, {1}, frozenset({1}), Slotted(1), object(), int, Slotted]
)
def test_value_without_futures_is_not_copied(value: Any) -> None:
    """What holds no future comes back as the very same object."""
    assert inputs.values_of(value) is value
    assert inputs.futures_in(value) == []


def test_shapes_keep_their_types() -> None:
    """Subclasses of dict keep what they add; dataclasses are not constructed again."""
    counted: collections.defaultdict[str, Any] = collections.defaultdict(list, {"a": settled(1)})
    item = Slotted(settled(2))
    item.derived = "changed"
    values = inputs.values_of([counted, item, frozenset({settled(3)})])

    assert values[0] == {"a": 1}
    assert values[0].default_factory is list
    assert (values[1].value, values[1].derived) == (2, "changed")
    assert values[2] == frozenset({3})
    assert isinstance(item.value, TaskFuture)


def test_each_future_is_found_once_in_order() -> None:
    """The same future in two places counts once."""
    one, two = settled(1), settled(2)

    assert inputs.futures_in([two, {"a": (one, two)}, allow_failure(one)]) == [two, one]


def test_states_are_replaced_like_futures() -> None:
    """A state stands for its result as a future does."""
    assert inputs.values_of({"a": states.completed(5)}) == {"a": 5}


def test_slots_stand_for_chained_futures() -> None:
    """Chained futures become numbered slots that remember whether failure is allowed; others become values."""
    chained: TaskFuture[Any] = TaskFuture("chained-0")
    value = inputs.slots_for([chained, settled(1), allow_failure([chained])], {chained: 0})

    assert isinstance(value[0], Slot)
    assert (value[0].index, value[0].allow_failure) == (0, False)
    assert value[1] == 1
    assert value[2][0].allow_failure


def test_failure_is_not_ready_unless_it_is_allowed() -> None:
    """A failed future blocks; with `allow_failure` its exception is the value."""
    error = ValueError("boom")
    future: TaskFuture[Any] = TaskFuture("failed-0")
    future.settle(states.failed("why", error))

    with pytest.raises(inputs.NotReady, match="'failed-0' did not reach"):
        inputs.values_of([future])
    with pytest.raises(inputs.NotReady):
        inputs.check([future])
    assert inputs.values_of(allow_failure([future])) == [error]
    inputs.check([allow_failure(future)])


def test_leaves_are_seen_with_their_permission() -> None:
    """`replace` tells for each leaf whether `allow_failure` is around it."""
    seen = []

    def leaf(found: Any, allowed: bool) -> Any:
        seen.append(allowed)
        return found

    replace([settled(1), allow_failure({"a": settled(2)})], leaf)

    assert seen == [False, True]
