"""Parameters keep their class. An annotation that cannot be checked accepts every value."""

from __future__ import annotations

import collections
import collections.abc
import functools
import pickle
import typing
import warnings
from typing import TYPE_CHECKING, Annotated, Any

import pydantic
import pytest

from flowcluster import flow
from flowcluster.engine import parameters
from flowcluster.engine.conversion import Converter
from flowcluster.errors import ParameterError

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForCheckers


class MyList(list[Any]):
    pass


class Point(typing.NamedTuple):
    x: Any
    y: Any


LISTS = (list, collections.abc.Sequence, collections.abc.MutableSequence, collections.abc.Collection)
MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
SETS = (collections.abc.Set, collections.abc.MutableSet, set)


def of_each(kinds: tuple[Any, ...], *items: Any) -> list[Any]:
    return [kind[items] if len(items) > 1 else kind[items[0]] for kind in (*kinds, collections.abc.Iterable)]


VALUES: list[tuple[Any, Any, Any]] = [
    *((hint, MyList([1, "2"]), MyList([1, 2])) for hint in of_each(LISTS, int)),
    *((hint, MyList([1, 2]), MyList([1, 2])) for hint in of_each(LISTS, int)),
    *((hint, [1, "2"], [1, 2]) for hint in of_each(LISTS, int)),
    *((hint, collections.deque([1, "2"], 7), collections.deque([1, 2], 7)) for hint in of_each(LISTS[1:], int)),
    *((hint, range(3), range(3)) for hint in of_each(LISTS[1:2], int)),
    *((hint, (1, "2"), (1, 2)) for hint in of_each((collections.abc.Sequence, collections.abc.Collection), int)),
    *((hint, Point("1", 2), Point(1, 2)) for hint in (tuple[int, int], tuple[int, ...], collections.abc.Sequence[int])),
    *((hint, collections.OrderedDict(a="1"), collections.OrderedDict(a=1)) for hint in [k[str, int] for k in MAPPINGS]),
    *((hint, collections.Counter("aab"), collections.Counter("aab")) for hint in [k[str, int] for k in MAPPINGS]),
    *((hint, {"1", 2}, {1, 2}) for hint in of_each(SETS, int)),
    (collections.abc.Set[int], frozenset({1}), frozenset({1})),
    (list[dict[str, int]], [collections.OrderedDict(a="1")], [collections.OrderedDict(a=1)]),
    (collections.abc.Iterable[int] | None, [1, "2"], [1, 2]),
    (Annotated[collections.abc.Iterable[int], "some text"], (1, "2"), (1, 2)),
    (dict[str, collections.abc.Iterable[int]], {"a": ["1"]}, {"a": [1]}),
    (typing.NewType("Numbers", collections.abc.Iterable), MyList([1]), MyList([1])),
]


def shown(value: object) -> str:
    """Return a text that is the same in every process: the order of a set depends on the hashes of texts."""
    return f"{{{', '.join(sorted(map(repr, value)))}}}" if isinstance(value, set | frozenset) else repr(value)


@pytest.mark.parametrize(("hint", "given", "wanted"), VALUES, ids=shown)
def test_container_keeps_its_class_when_its_items_are_converted(hint: Any, given: Any, wanted: Any) -> None:
    got = Converter(hint).convert(given)

    assert (type(got), got) == (type(wanted), wanted)
    assert list(got) == list(got)
    assert pickle.loads(pickle.dumps(got)) == wanted
    if isinstance(got, collections.deque):
        assert got.maxlen == 7


@pytest.mark.parametrize("hint", [dict[str, int], dict, collections.abc.Mapping[str, int]])
@pytest.mark.parametrize("given", [{}, {"a": 1}, {"a": "1"}])
def test_defaultdict_keeps_its_factory(hint: Any, given: dict[str, Any]) -> None:
    counts = Converter(hint).convert(collections.defaultdict(int, given))

    counts["new"] += 1

    assert counts["new"] == 1


def test_iterator_is_not_used_up_by_the_check() -> None:
    numbers = iter([1, 2])

    assert Converter(collections.abc.Iterable[int]).convert(numbers) is numbers
    assert Converter(list[int]).convert(numbers) == [1, 2]
    with pytest.raises(pydantic.ValidationError, match="should be iterable"):
        Converter(collections.abc.Iterable[int]).convert(5)


class Source(typing.Protocol):
    def rows(self) -> list[int]: ...


def with_annotation(annotation: Any) -> Any:
    def body(value):  # type: ignore[no-untyped-def]
        return value

    body.__annotations__["value"] = annotation
    return body


UNCHECKED = [
    Source,
    typing.Self,
    typing.ClassVar[int],
    "how many days back to look",
    "int > 0",
    "NoSuchName",
    "5",
    "",
    5,
    list[Source],
]


@pytest.mark.parametrize("annotation", UNCHECKED, ids=repr)
def test_annotation_that_cannot_be_checked_accepts_every_value(annotation: Any) -> None:
    value = [object()]

    bound = parameters.bind("demo", with_annotation(annotation), (value,), {})

    assert bound.args[0][0] is value[0]


def test_other_parameters_are_checked_when_one_cannot_be() -> None:
    def body(price: OnlyForCheckers, source: Source, number: int) -> None:
        pass

    assert parameters.bind("demo", body, ("1.5", 1, "5"), {}).args == ("1.5", 1, 5)


def test_model_of_pydantic_1_is_made_of_a_dict() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pydantic.v1

    class Old(pydantic.v1.BaseModel):
        number: int

    convert = Converter(list[Old]).convert

    assert convert([{"number": "3"}, Old(number=4)]) == [Old(number=3), Old(number=4)]
    with pytest.raises(pydantic.ValidationError, match="number"):
        convert([{"number": "x"}])


def test_check_that_breaks_is_reported_with_parameter_and_annotation() -> None:
    def broken(value: Any) -> Any:
        raise KeyError("inside")

    body = with_annotation(Annotated[int, pydantic.AfterValidator(broken), "odd"])

    with pytest.raises(ParameterError, match=r"Flow 'demo': parameter 'value' .* annotation .*Annotated.*KeyError"):
        parameters.bind("demo", body, (1,), {})


class Options(typing.TypedDict, total=False):
    limit: int


def test_every_kind_of_parameter_is_converted() -> None:
    def body(first: int, /, second: int, *rest: tuple[int, int], only: int = 1, **more: dict[str, int]) -> None:
        pass

    bound = parameters.bind("demo", body, ("1", "2", ("3", "4")), {"only": "5", "first": {"a": "6"}})

    assert (bound.args, bound.kwargs) == ((1, 2, (3, 4)), {"only": 5, "first": {"a": 6}})


def test_unpacked_options_are_converted_as_one() -> None:
    def body(**options: typing.Unpack[Options]) -> None:
        pass

    assert parameters.bind("demo", body, (), {"limit": "5"}).kwargs == {"limit": 5}


class Loader:
    def load(self, number: int) -> int:
        return number

    def __call__(self, number: int) -> int:
        return number

    __hash__ = None  # type: ignore[assignment]


def scaled(factor: int, number: int) -> int:
    return factor * number


@pytest.mark.parametrize(
    "function", [Loader().load, Loader(), functools.partial(scaled, 1), functools.partial(Loader().load)]
)
def test_parameters_of_a_wrapper_are_converted_by_the_annotations_of_its_function(function: Any) -> None:
    assert parameters.bind("demo", function, ("5",), {}).args == (5,)


def test_unions_in_another_order_are_converted_separately() -> None:
    one = with_annotation(Annotated[int | str, pydantic.Field(union_mode="left_to_right")])
    other = with_annotation(Annotated[str | int, pydantic.Field(union_mode="left_to_right")])

    assert parameters.bind("demo", one, ("5",), {}).args == (5,)
    assert parameters.bind("demo", other, ("5",), {}).args == ("5",)


def test_flow_gets_an_iterable_twice() -> None:
    @flow
    def twice(numbers: collections.abc.Iterable[int]) -> list[list[int]]:
        return [list(numbers), list(numbers)]

    assert twice([1, 2]) == [[1, 2], [1, 2]]
