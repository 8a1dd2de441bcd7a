"""Search for futures in values of any structure."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import attrs
import pydantic
import pytest

from flowcluster import allow_failure, opaque, quote, states
from flowcluster.engine import inputs
from flowcluster.futures import TaskFuture, containers
from flowcluster.futures.nesting import Slot, replace, snapshot


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
    """The function returns the same object."""
    assert inputs.values_of(value) is value
    assert inputs.futures_in(value) == []


def test_containers_keep_their_types() -> None:
    """Subclasses of dict keep their attributes. Dataclasses are not constructed again."""
    counted: collections.defaultdict[str, Any] = collections.defaultdict(list, {"a": settled(1)})
    item = Slotted(settled(2))
    item.derived = "changed"
    values = inputs.values_of([counted, item, frozenset({settled(3)})])

    assert values[0] == {"a": 1}
    assert values[0].default_factory is list
    assert (values[1].value, values[1].derived) == (2, "changed")
    assert values[2] == frozenset({3})
    assert isinstance(item.value, TaskFuture)


class LazyModel(pydantic.BaseModel):
    """A class whose `__getattribute__` is expensive, or fails while the SDK reads the arguments."""

    source: Any
    name: Any = None

    def __getattribute__(self, item: str) -> Any:
        if item == "source":
            raise RuntimeError("computed too early")
        return super().__getattribute__(item)


@dataclasses.dataclass
class LazyData:
    source: Any
    name: Any = None

    def __getattribute__(self, item: str) -> Any:
        if item == "source":
            raise RuntimeError("computed too early")
        return super().__getattribute__(item)


@pytest.mark.parametrize("kind", [LazyModel, LazyData])
def test_field_is_read_without_the_code_of_its_class(kind: Any) -> None:
    plain, filled = kind(source=1), kind(source=settled(2), name=settled(3))

    assert inputs.values_of(plain) is plain
    assert len(inputs.futures_in(filled)) == 2
    copied = inputs.values_of(filled)
    assert (type(copied), vars(copied)) == (kind, {"source": 2, "name": 3})


def test_each_future_is_found_once_in_order() -> None:
    """A future in two places counts once."""
    one, two = settled(1), settled(2)

    assert inputs.futures_in([two, {"a": (one, two)}, allow_failure(one)]) == [two, one]


def test_states_are_replaced_like_futures() -> None:
    """The result of the state takes its place, as with a future."""
    assert inputs.values_of({"a": states.completed(5)}) == {"a": 5}


def test_chained_futures_become_slots() -> None:
    """Chained futures become numbered slots that record whether failure is allowed. Others become values."""
    chained: TaskFuture[Any] = TaskFuture("chained-0")
    value = inputs.slots_for([chained, settled(1), allow_failure([chained])], {chained: 0})

    assert isinstance(value[0], Slot)
    assert (value[0].index, value[0].allow_failure) == (0, False)
    assert value[1] == 1
    assert value[2][0].allow_failure


def test_failure_is_not_ready_unless_it_is_allowed() -> None:
    """With `allow_failure`, the exception of a failed future is the value."""
    error = ValueError("boom")
    future: TaskFuture[Any] = TaskFuture("failed-0")
    future.settle(states.failed("why", error))

    with pytest.raises(inputs.NotReady, match="'failed-0' did not reach"):
        inputs.values_of([future])
    with pytest.raises(inputs.NotReady):
        inputs.check([future])
    assert inputs.values_of(allow_failure([future])) == [error]
    inputs.check([allow_failure(future)])


def test_leaves_have_the_flag_of_allow_failure() -> None:
    """`replace` passes for each leaf whether it is inside `allow_failure`."""
    seen = []

    def leaf(found: Any, allowed: bool) -> Any:
        seen.append(allowed)
        return found

    replace([settled(1), allow_failure({"a": settled(2)})], leaf)

    assert seen == [False, True]


class Items(list):  # type: ignore[type-arg]
    pass


class Table(dict):  # type: ignore[type-arg]
    pass


class Pair(NamedTuple):
    left: Any
    right: Any


class Labelled(tuple):  # type: ignore[type-arg]
    label = "none"


@dataclasses.dataclass(frozen=True)
class Frozen:
    value: Any


@dataclasses.dataclass
class Node:
    value: Any = None
    parent: Any = None
    children: list[Any] = dataclasses.field(default_factory=list)


@attrs.frozen
class Attrs:
    value: Any


#: Functions that make a container of one value. `content` reads the value.
CONTAINERS: dict[str, Any] = {
    "list subclass": lambda value: Items([value]),
    "deque": lambda value: collections.deque([0, value], 2),
    "dict subclass": lambda value: Table(a=value),
    "ordered dict": lambda value: collections.OrderedDict(a=value, b=1),
    "counter": lambda value: collections.Counter({"a": value}),
    "named tuple": lambda value: Pair(value, 1),
    "tuple subclass": lambda value: Labelled([value]),
    "frozen dataclass": Frozen,
    "attrs": Attrs,
    "dict key": lambda value: {1: 1, value: 2},
    "key of an ordered dict": lambda value: collections.OrderedDict([(value, 2), (1, 1)]),
    "proxy": lambda value: types.MappingProxyType({"a": value}),
    "namespace": lambda value: types.SimpleNamespace(a=value),
    "user dict": lambda value: collections.UserDict(a=value),
    "user list": lambda value: collections.UserList([value]),
    "chain map": lambda value: collections.ChainMap({"a": value}),
    "nested": lambda value: [Frozen(collections.deque([{"a": Pair((value,), 1)}]))],
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_future_is_found_in_each_container(name: str) -> None:
    make = CONTAINERS[name]
    future = settled(5)
    original = make(future)
    found = inputs.values_of([original])[0]

    assert inputs.futures_in(original) == [future]
    assert (type(found), found) == (type(original), make(5))
    assert inputs.futures_in(original) == [future], "the original stays as it is"
    assert getattr(found, "maxlen", None) == getattr(original, "maxlen", None)


@pytest.mark.parametrize("name", CONTAINERS)
def test_container_without_futures_is_not_copied(name: str) -> None:
    value = CONTAINERS[name](5)

    assert inputs.values_of(value) is value


@pytest.mark.parametrize("value", [{1, "future"}, {"future": 1}, frozenset({"future"})])
def test_result_that_cannot_be_a_key_or_member_is_refused_by_name(value: Any) -> None:
    future = settled([1])
    value = (
        {future: 1} if isinstance(value, dict) else type(value)(future if item == "future" else item for item in value)
    )

    with pytest.raises(TypeError, match=f"future in an object of type {type(value).__name__} cannot be replaced"):
        inputs.values_of(value)


def test_container_that_cannot_be_copied_is_refused_by_name() -> None:
    class Own(list):  # type: ignore[type-arg]
        def __copy__(self) -> Any:
            raise RuntimeError("only one")

    with pytest.raises(TypeError, match=r"object of type Own cannot be replaced.*only one"):
        inputs.values_of(Own([settled(1)]))


def tree(value: Any) -> Node:
    root = Node(parent=None)
    root.children = [Node(1, root), Node(value, root)]
    return root


def test_cycle_without_futures_is_sent_unchanged() -> None:
    circle: list[Any] = [1]
    circle.append(circle)
    table: dict[str, Any] = {}
    table["self"] = table
    through: tuple[Any, ...] = ([],)
    through[0].append(through)

    for value in (circle, table, through, tree(2)):
        assert inputs.values_of(value) is value
        assert inputs.futures_in(value) == []


def test_cycle_with_a_future_refers_to_its_copy() -> None:
    root = tree(settled(5))
    copied = inputs.values_of({"root": root})["root"]

    assert [child.value for child in copied.children] == [1, 5]
    assert all(child.parent is copied for child in copied.children)
    assert isinstance(root.children[1].value, TaskFuture)

    through: tuple[Any, ...] = ([settled(5)],)
    through[0].append(through)
    copied = inputs.values_of(through)
    assert copied is not through
    assert copied[0][0] == 5
    assert copied[0][1][0] is copied[0]


def test_future_in_a_cycle_counts_once() -> None:
    future = settled(5)
    circle: list[Any] = [future]
    circle.append(circle)
    calls: list[Any] = []

    replace(circle, lambda leaf, _: calls.append(leaf))

    assert calls == [future]


def test_long_chain_is_sent_unchanged_or_is_refused() -> None:
    chain: Any = None
    for _ in range(20_000):
        chain = Node(parent=chain)

    assert inputs.values_of(chain) is chain
    chain.value = settled(1)
    with pytest.raises(TypeError, match="nested too deeply in an argument of type Node"):
        inputs.values_of(chain)
    while chain is not None:  # a recursive deletion would overflow the stack
        chain = chain.parent


PAIRS: dict[str, Callable[[Any], Any]] = {
    "list": lambda value: [value, value],
    "tuple": lambda value: (value, value),
    "dict": lambda value: {"one": value, "other": value},
    "dataclass": lambda value: Node(value, value),
    "namespace": lambda value: types.SimpleNamespace(one=value, other=value),
}


def parts_of(pair: Any) -> tuple[Any, Any]:
    """Return both values of a pair that an item of `PAIRS` makes."""
    parts = pair.values() if isinstance(pair, dict) else containers.shape_of(type(pair)).parts(pair)  # type: ignore[union-attr]
    one, other, *_ = parts
    return one, other


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("look", [inputs.values_of, inputs.futures_in, snapshot])
def test_shared_containers_are_searched_once(name: str, look: Callable[[Any], Any]) -> None:
    """Each of 200 containers is in the next one twice: there are 2**200 paths to the innermost one."""
    for leaf in (datetime.date(2020, 1, 1), settled(1)):
        value: Any = [leaf]
        for _ in range(200):
            value = PAIRS[name](value)

        look(value)


@pytest.mark.parametrize("name", PAIRS)
def test_shared_container_with_a_future_stays_one_object(name: str) -> None:
    shared = [settled(1)]
    pair = PAIRS[name](PAIRS[name](shared))

    one, other = parts_of(inputs.values_of(pair))
    assert one is other
    assert parts_of(one)[0] is parts_of(one)[1]
    assert parts_of(one)[0] == [1]

    copy = parts_of(parts_of(snapshot(pair))[0])[0]
    shared.append(settled(2))
    assert len(copy) == 1


def test_snapshot_copies_containers_with_futures_and_keeps_others() -> None:
    future, plain = settled(1), [1]
    value: list[Any] = [[future], {"a": future}, plain, allow_failure([future]), quote([future]), opaque([future])]
    copied = snapshot(value)

    assert copied is not value
    assert copied[0] == [future]
    assert copied[0] is not value[0]
    assert copied[1] == {"a": future}
    assert copied[1] is not value[1]
    assert copied[2] is plain
    assert copied[3].value == [future]
    assert copied[3].value is not value[3].value
    assert copied[4:] == value[4:]


def test_snapshot_does_not_change_a_cycle() -> None:
    circle: list[Any] = [settled(1)]
    circle.append(circle)

    assert snapshot(circle) is circle
