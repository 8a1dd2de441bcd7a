"""Names of runs and keys of tasks."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flowcluster._util import names
from flowcluster._util.words import ADJECTIVES, ANIMALS


def test_run_names_are_an_adjective_and_an_animal() -> None:
    """Both words are lower-case and valid in names of Kubernetes objects."""
    for _ in range(50):
        assert re.fullmatch(r"[a-z]+-[a-z]+", names.run_name())


def test_words_are_distinct() -> None:
    """No list contains a word twice, so that names differ as often as possible."""
    assert len(set(ADJECTIVES)) == len(ADJECTIVES) > 100
    assert len(set(ANIMALS)) == len(ANIMALS) > 200


def test_flow_is_named_after_its_function() -> None:
    """Underscores become dashes. A partial is named after its type."""

    def my_nice_flow() -> None:
        pass

    assert names.flow_name(my_nice_flow) == "my-nice-flow"
    assert names.flow_name(lambda: None) == "lambda"


def test_task_key_is_the_same_for_a_script_and_for_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python flows.py` and `flowcluster run flows.py:...` give the same names of task runs."""
    import sys
    import types

    def say_hello() -> None:
        pass

    say_hello.__qualname__ = "say_hello"
    say_hello.__module__ = "flows"
    as_module = names.task_key(say_hello)
    main = types.ModuleType("__main__")
    main.__file__ = "/somewhere/flows.py"
    monkeypatch.setitem(sys.modules, "__main__", main)
    say_hello.__module__ = "__main__"

    assert names.task_key(say_hello) == as_module
    assert re.fullmatch(r"[0-9a-f]{8}", as_module)


def test_task_keys_differ_by_module_and_function() -> None:
    """Functions with the same name in two modules have different keys."""

    def make(module: str) -> Any:
        def load() -> None:
            pass

        load.__module__ = module
        return load

    assert names.task_key(make("a")) != names.task_key(make("b"))
