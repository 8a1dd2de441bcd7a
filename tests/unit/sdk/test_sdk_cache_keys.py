"""`task_input_hash`: one key for the same code with equal inputs, and another one for anything else."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import json
import os
import pathlib
import textwrap
import threading
import types
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import wrapt
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcluster.context import RunInfo, TaskContext
from flowcluster.engine.parameters import by_name
from flowcluster.engine.task_spec import TaskSpec
from flowcluster.runners.base import TaskPayload
from flowcluster.tasks import task_input_hash


def key_of(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    spec = dataclasses.replace(TaskSpec.of(function, {}), name="named", key="00000000")
    run = TaskContext(TaskPayload(spec, "run", "flow", "process", 20), RunInfo("run-0"), None)
    return task_input_hash(run, by_name(function, args, kwargs))


def takes(value: Any) -> Any:
    return value


def code(text: str) -> dict[str, Any]:
    """Return the globals of a script with this text."""
    module = types.ModuleType("__main__")
    exec(textwrap.dedent(text), vars(module))
    return vars(module)


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: int


class Scale:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def method(self, value: int) -> int:
        return value * self.factor

    def __call__(self, value: int) -> int:
        return value * self.factor


class Wrapping:
    """A decorator that is an object."""

    def __init__(self, function: Callable[[int], int], factor: int) -> None:
        functools.update_wrapper(self, function)
        self.factor = factor
        self.lock = threading.Lock()

    def __call__(self, value: int) -> int:
        return self.factor * self.__wrapped__(value)  # type: ignore[attr-defined,no-any-return]


class WrappingElse(Wrapping):
    pass


def proxied(function: Callable[..., Any], factor: int) -> Any:
    @wrapt.decorator
    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return factor * wrapped(*args, **kwargs)

    return wrapper(function)


def scaled_by(factor: int) -> Callable[[int], int]:
    def scale(value: int) -> int:
        return value * factor

    return scale


def circle(size: int) -> list[Any]:
    one: list[Any] = [size]
    one.append(one)
    return one


PLAIN: list[Any] = [
    *(None, ..., 0, 1, 2, True, False, 1.0, 0.0, -0.0, 1j, "", "1", b"1", "None"),
    *([], (), {}, set(), frozenset(), [1], (1,), {1}, frozenset({1}), [[1]]),
    *({1: 1}, {"1": 1}, {1: "1"}, {True: 1}, {1: 1, 2: 2}, [1, 2], [2, 1], ["12"]),
]

#: Values that all differ from each other.
VALUES: list[Callable[[], Any]] = [
    *(functools.partial(takes, value) for value in PLAIN),
    lambda: ["a", "b"],
    lambda: ["ab"],
    lambda: {"a": "bstr c"},
    lambda: {"astr b": "c"},
    lambda: "x" * 100,
    lambda: "x" * 101,
    lambda: 10**5000,
    lambda: float("inf"),
    lambda: range(3),
    lambda: slice(3),
    lambda: bytearray(b"1"),
    lambda: collections.OrderedDict([(1, 1), (2, 2)]),
    lambda: collections.OrderedDict([(2, 2), (1, 1)]),
    lambda: collections.defaultdict(list, {1: [1]}),
    lambda: collections.defaultdict(set, {1: [1]}),
    lambda: collections.deque([1], 3),
    lambda: collections.deque([1], 4),
    lambda: datetime.date(2026, 1, 1),
    lambda: datetime.datetime(2026, 1, 1),
    lambda: datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    lambda: decimal.Decimal("1.0"),
    lambda: decimal.Decimal("1.00"),
    lambda: pathlib.PurePosixPath("1"),
    lambda: Colour.RED,
    lambda: Colour.GREEN,
    lambda: Colour,
    lambda: Point(1),
    lambda: Point(2),
    lambda: Frozen(1),
    lambda: Scale(1),
    lambda: Scale(2),
    lambda: Scale(1).method,
    lambda: Scale(2).method,
    lambda: scaled_by(1),
    lambda: scaled_by(2),
    lambda: functools.partial(scaled_by(1), 1),
    lambda: functools.partial(scaled_by(1), 2),
    lambda: functools.partial(takes, value=1),
    lambda: functools.lru_cache(scaled_by(1)),
    lambda: Wrapping(scaled_by(1), 1),
    lambda: Wrapping(scaled_by(1), 2),
    lambda: Wrapping(scaled_by(2), 1),
    lambda: WrappingElse(scaled_by(1), 1),
    lambda: proxied(scaled_by(1), 1),
    lambda: proxied(scaled_by(1), 2),
    lambda: proxied(scaled_by(2), 1),
    lambda: proxied(len, 1),
    lambda: proxied(Point, 1),
    lambda: proxied(Point, 2),
    lambda: lambda: 1,
    lambda: lambda: 2,
    lambda: lambda x=1: x,
    lambda: lambda x=2: x,
    lambda: lambda *, x=1: x,
    lambda: lambda *, x=2: x,
    lambda: lambda: [x + 1 for x in (1, 2)],
    lambda: lambda: [x + 1 for x in (1, 3)],
    lambda: min,
    lambda: max,
    lambda: "".join,
    lambda: " ".join,
    lambda: str.join,
    lambda: int,
    lambda: str,
    lambda: Point,
    lambda: os.path,
    lambda: json.dumps,
    lambda: json.loads,
    lambda: numpy.arange(3),
    lambda: numpy.arange(4),
    lambda: numpy.arange(3.0),
    lambda: numpy.add,
    lambda: numpy.float64(1),
    lambda: ValueError("a"),
    lambda: ValueError("b"),
    lambda: circle(1),
    lambda: circle(2),
    lambda: [circle(1)],
]


def test_values_have_keys_of_their_own() -> None:
    """Equal values of equal types have one key. No two values of the list above are equal."""
    keys: dict[str, Any] = {}
    for make in VALUES:
        key = key_of(takes, make())
        assert key == key_of(takes, make()), make()
        assert key not in keys, (make(), keys[key])
        keys[key] = make()


simple = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
hashable = st.recursive(simple, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5)
values = st.recursive(
    hashable,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(hashable, inner, max_size=4),
    max_leaves=10,
)


def typed(value: Any) -> Any:
    """Return a value as a text that shows types, without the order of keys and sets."""
    if isinstance(value, dict):
        return "dict", sorted((repr(typed(key)), repr(typed(item))) for key, item in value.items())
    if isinstance(value, set | frozenset):
        return type(value).__name__, sorted(repr(typed(item)) for item in value)
    if isinstance(value, list | tuple):
        return type(value).__name__, [typed(item) for item in value]
    return type(value).__name__, repr(value)


@given(values, values)
@settings(max_examples=150, deadline=None)
def test_keys_are_equal_when_types_and_contents_are(one: Any, other: Any) -> None:
    assert (key_of(takes, one) == key_of(takes, other)) == (typed(one) == typed(other))


@given(st.dictionaries(hashable, simple, min_size=2, max_size=6))
@settings(max_examples=50, deadline=None)
def test_order_of_keys_does_not_matter(value: dict[Any, Any]) -> None:
    assert key_of(takes, value) == key_of(takes, dict(reversed(value.items())))


#: Two programs each, whose `compute` differs.
DECORATED = """
import functools

class Times:
    def __init__(self, function, factor):
        functools.update_wrapper(self, function)
        self.factor = factor

    def __call__(self, x):
        return self.factor * self.__wrapped__(x)

def plain(x): return x

helper = Times(plain, {})

def compute(x): return helper(x)
"""

EDITS = {
    "called builtin": ("def compute(x): return min(x)", "def compute(x): return max(x)"),
    "called method": ("def compute(x): return x.upper()", "def compute(x): return x.lower()"),
    "constant": ("def compute(x): return x + 1", "def compute(x): return x + 2"),
    "constant type": ("def compute(x): return x + 1", "def compute(x): return x + 1.0"),
    "default": ("def compute(x, y=1): return x + y", "def compute(x, y=2): return x + y"),
    "nested code": (
        "def compute(x): return [y + 1 for y in x if y]",
        "def compute(x): return [y + 1 for y in x if not y]",
    ),
    "global": ("FACTOR = 2\ndef compute(x): return x * FACTOR", "FACTOR = 3\ndef compute(x): return x * FACTOR"),
    "called function": (
        "def helper(x): return x + 1\ndef compute(x): return helper(x)",
        "def helper(x): return x + 2\ndef compute(x): return helper(x)",
    ),
    "function that it calls": (
        "def inner(x): return x + 1\ndef helper(x): return inner(x)\ndef compute(x): return helper(x)",
        "def inner(x): return x + 2\ndef helper(x): return inner(x)\ndef compute(x): return helper(x)",
    ),
    "method of a class": (
        "class A:\n    def go(self, x): return x + 1\ndef compute(x): return A().go(x)",
        "class A:\n    def go(self, x): return x + 2\ndef compute(x): return A().go(x)",
    ),
    **{
        f"attribute {name} of a class": (
            f"class A:\n    {name} = 1\ndef compute(x): return getattr(A, '{name}')",
            f"class A:\n    {name} = 2\ndef compute(x): return getattr(A, '{name}')",
        )
        for name in ("step", "_step", "_values", "_members", "_value_", "__version__")
    },
    "attribute of a class that is a list": (
        "class A:\n    _values = [1]\ndef compute(x): return A._values",
        "class A:\n    _values = [2]\ndef compute(x): return A._values",
    ),
    "setting of a decorator that is an object": (
        DECORATED.format(1),
        DECORATED.format(2),
    ),
    "code of a decorator that is an object": (
        DECORATED.format(1),
        DECORATED.format(1).replace("self.factor *", "self.factor +"),
    ),
    "base class": (
        "class A:\n    step = 1\nclass B(A): pass\ndef compute(x): return B.step",
        "class A:\n    step = 2\nclass B(A): pass\ndef compute(x): return B.step",
    ),
    "lambda in a constant": (
        "def compute(x): return (lambda y: y + 1)(x)",
        "def compute(x): return (lambda y: y + 2)(x)",
    ),
    "handled exception": (
        "def compute(x):\n    try:\n        return x()\n    except ValueError:\n        return 1",
        "def compute(x):\n    try:\n        return x()\n    except KeyError:\n        return 1",
    ),
    "member of an enum": (
        "import enum\nclass E(enum.Enum):\n    A = 1\ndef compute(x): return E.A.value",
        "import enum\nclass E(enum.Enum):\n    A = 2\ndef compute(x): return E.A.value",
    ),
    "default of a dataclass": (
        "import dataclasses\n@dataclasses.dataclass\nclass D:\n    a: int = 1\ndef compute(x): return D().a",
        "import dataclasses\n@dataclasses.dataclass\nclass D:\n    a: int = 2\ndef compute(x): return D().a",
    ),
    "partial": (
        "import functools\ndef f(a, b): return a * b\ng = functools.partial(f, 2)\ndef compute(x): return g(x)",
        "import functools\ndef f(a, b): return a * b\ng = functools.partial(f, 3)\ndef compute(x): return g(x)",
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_code_has_another_key(edit: str) -> None:
    before, after = (code(text)["compute"] for text in EDITS[edit])

    assert key_of(before, 1) != key_of(after, 1)
    assert key_of(before, 1) == key_of(code(EDITS[edit][0])["compute"], 1)


def test_key_is_the_same_when_code_moves() -> None:
    """Lines before the code, other functions and unrelated globals do not change the key."""
    text = "def compute(x): return [y for y in x if helper(y)]\ndef helper(y): return y > 1"

    assert key_of(code(text)["compute"], 1) == key_of(code("import os\nOTHER = 1\n\n\n" + text)["compute"], 1)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: threading.Lock(), "argument 'value', of type lock, cannot be hashed"),
        (lambda: [threading.Lock()], r"argument 'value'\[0\], of type lock"),
        (lambda: {"a": Scale(threading.Lock())}, "of type lock"),  # type: ignore[arg-type]
        (lambda: (x for x in ""), "argument 'value', of type generator"),
        (lambda: scaled_by(threading.Lock()), "variable 'factor' of function .*scale.*, of type lock"),  # type: ignore[arg-type]
    ],
)
def test_value_without_content_is_refused_by_name(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        key_of(takes, make())


def test_global_without_content_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="'LOCK' in function 'compute', of type lock"):
        key_of(code("import threading\nLOCK = threading.Lock()\ndef compute(x): return LOCK")["compute"], 1)


def test_infinite_nesting_is_refused() -> None:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]

    with pytest.raises(TypeError, match="nested too deeply"):
        key_of(takes, value)
