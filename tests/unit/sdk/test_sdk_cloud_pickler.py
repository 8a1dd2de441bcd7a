"""Functions and classes of scripts are complete in a process that cannot import them."""

from __future__ import annotations

import contextvars
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import importable

SCRIPT = """
import contextvars
import copy
import enum
import functools
import os
import sys
import typing

import wrapt

from flowcluster._util import pickling
from tests.support import importable


class Permission(enum.IntFlag):
    READ = 4
    WRITE = 2
    BOTH = 6


class Rank(enum.Flag):
    FIRST = 11
    SECOND = 37


class Color(enum.Enum):
    RED = 1
    CRIMSON = 1


class Planet(enum.Enum):
    EARTH = (5.97e24, 6.37e6)

    def __init__(self, mass, radius):
        self.mass = mass


class Coded(int, enum.Enum):
    OK = (200, "fine")

    def __new__(cls, value, phrase):
        member = int.__new__(cls, value)
        member._value_ = value
        member.phrase = phrase
        return member


@functools.cache
def fibonacci(number):
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


@functools.lru_cache(maxsize=3, typed=True)
def cached(number):
    return number + 1


def plus(number, other):
    return number + other


unnamed = functools.cache(functools.partial(plus, 1))
renamed = functools.cache(os.path.basename)


@functools.singledispatch
def kind(value):
    return "other"


@kind.register
def _(value: list):
    return [kind(item) for item in value]


class Holder:
    @functools.cached_property
    def prop(self):
        return 5

    @functools.lru_cache
    def method(self, number):
        return 2 * number


class Slow:
    speed = 1

    def name(self):
        return "slow"


class Steady(Slow):
    speed = 1
    name = Slow.name


class Fast(Slow):
    speed = 2

    def name(self):
        return "fast"


class Both(Steady, Fast):
    pass


class Level(enum.Enum):
    LOW = 1
    __str__ = enum.Enum.__str__


class Plugin:
    count = 0

    def __init_subclass__(cls, /, topic):
        super().__init_subclass__(topic=topic) if issubclass(cls, importable.WithTopic) else super().__init_subclass__()
        if not hasattr(cls, "needed"):
            raise TypeError(f"{cls.__name__} lacks an attribute")
        cls.topic = topic
        Plugin.count += 1


class Loader(Plugin, topic="files"):
    needed = True


class Known(importable.WithTopic, topic="known"):
    pass


class KnownLoader(Loader, importable.WithTopic, topic="both"):
    needed = True


class SlottedLoader(Loader, topic="slots"):
    __slots__ = ()
    needed = True


tenant = contextvars.ContextVar("tenant", default="nobody's")
unset = contextvars.ContextVar("unset")
known = importable.VARIABLE


def set_tenant():
    tenant.set("ours")


def variables():
    return tenant.get(), unset.get(None), unset.name, known.get()


@wrapt.decorator
def doubled(wrapped, instance, args, kwargs):
    return 2 * wrapped(*args, **kwargs)


@doubled
def proxied():
    return 4


class Slotted:
    __slots__ = ("__weakref__", "__private", "value")

    def __init__(self, value):
        self.value = value
        self.__private = value + 1

    def private(self):
        return self.__private


class SlottedMore(Slotted):
    __slots__ = "more"


class SlottedAndDict(Slotted):
    pass


class Pair(typing.NamedTuple):
    one: int
    other: int = 2


class Word(str):
    __slots__ = ()


def slots():
    assert Pair(1)._replace(other=3) == (1, 3)
    assert not hasattr(Word("a"), "__dict__")
    item, more, free = Slotted(1), SlottedMore(2), SlottedAndDict(3)
    more.more = free.other = 5
    copies = [copy.copy(each) for each in (item, more, free)]
    return [(each.value, each.private(), hasattr(each, "__dict__")) for each in copies], copies[1].more, copies[2].other


def overrides():
    own = [name for name in ("speed", "name") if name in vars(Steady)]
    return Both.speed, Both().name(), own, "__str__" in vars(Level)


def subclasses():
    class Later(Loader, topic="later"):
        needed = True

    return [each.topic for each in (Loader, Known, KnownLoader, SlottedLoader, Later)], Plugin.count


def enums():
    members = [list(each.__members__) for each in (Permission, Rank, Color)]
    return members, repr(Permission.BOTH), repr(Rank.SECOND), Color.CRIMSON is Color.RED


def attributes_of_members():
    return Planet.EARTH.mass, Coded.OK.phrase, int(Coded.OK)


def caches():
    return fibonacci(10), cached(1), cached.cache_parameters(), Holder().method(4), unnamed(2), renamed("a/b")


def dispatch():
    return kind([1, [2]])


def properties():
    holder = Holder()
    return holder.prop, vars(holder)


sys.stdout.buffer.write(pickling.dumps({name: pickling.dumps(globals()[name]) for name in sys.argv[1:]}))
"""

EXPECTED: dict[str, Any] = {
    "variables": ("nobody's", None, "unset", "set here"),
    "set_tenant": None,
    "proxied": 8,
    "slots": ([(1, 2, False), (2, 3, False), (3, 4, True)], 5, 5),
    "overrides": (1, "slow", ["speed", "name"], True),
    "subclasses": (["files", "known", "both", "slots", "later"], 4),
    "enums": (
        [["READ", "WRITE", "BOTH"], ["FIRST", "SECOND"], ["RED", "CRIMSON"]],
        "<Permission.BOTH: 6>",
        "<Rank.SECOND: 37>",
        True,
    ),
    "attributes_of_members": (5.97e24, "fine", 200),
    "caches": (55, 2, {"maxsize": 3, "typed": True}, 8, 3, "b"),
    "dispatch": ["other", ["other"]],
    "properties": (5, {"prop": 5}),
}


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the functions of the script as it pickles them."""
    script: Path = tmp_path_factory.mktemp("script") / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(importable.__file__).parents[2])}
    command = [sys.executable, str(script), *EXPECTED]
    output = subprocess.run(command, capture_output=True, check=True, env=environment).stdout
    functions: dict[str, bytes] = pickle.loads(output)
    return functions


@pytest.mark.processes
@pytest.mark.parametrize("name", list(EXPECTED))
def test_code_of_a_script_is_complete_in_another_process(name: str, sent: dict[str, bytes]) -> None:
    function = pickle.loads(sent[name])
    context = contextvars.copy_context()
    context.run(importable.VARIABLE.set, "set here")

    assert context.run(function) == EXPECTED[name]


def test_context_variable_of_a_script_is_one_variable_in_a_process(sent: dict[str, bytes]) -> None:
    context = contextvars.copy_context()
    context.run(pickle.loads(sent["set_tenant"]))

    assert context.run(pickle.loads(sent["variables"]))[0] == "ours"
