"""JSON of results and parameters: strict, and equal to the value after reading."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcluster import flow
from flowcluster._util import exact_json
from flowcluster.cli.report import document
from flowcluster.engine import run_loop
from flowcluster.engine.outcome import outcome_of, to_json
from flowcluster.submit.packing import FlowLocation
from flowcluster.submit.prepare import prepare


@dataclasses.dataclass
class Counted:
    by_year: Any


class Model(pydantic.BaseModel):
    by_year: Any


def refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def strict(text: str) -> Any:
    return json.loads(text, parse_constant=refuse)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
KEYS = st.text() | st.integers() | st.floats() | st.booleans() | st.none()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=8)


@given(VALUES)
def test_result_in_the_record_is_read_as_an_equal_value(value: Any) -> None:
    text, omitted = to_json(value)

    assert (text is None) == (omitted is not None or value is None)
    if text is not None:
        assert strict(text) == value


@given(VALUES)
def test_value_is_read_from_json_without_changes(value: Any) -> None:
    back = json.loads(json.dumps(value))

    assert (exact_json.change(value) is None) == (back == value and "NaN" not in json.dumps(value))


CHANGED = [
    ({"mean": math.nan}, "['mean'] is nan, which JSON does not have"),
    ([1, -math.inf], "[1] is -inf, which JSON does not have"),
    ({"years": {2042: 1}}, "['years'] has the key 2042, which JSON changes to text"),
    ({None: 1}, " has the key None"),
    ("\ud800", " has a character that UTF-8 does not have"),
    ({"\ud800": 1}, " has a key with a character that UTF-8 does not have"),
]


@pytest.mark.parametrize(("value", "text"), CHANGED)
def test_result_that_json_changes_is_omitted_with_the_place(value: Any, text: str) -> None:
    shown, omitted = to_json(value)

    assert shown is None
    assert omitted is not None
    assert omitted.startswith("it cannot be written as JSON: ")
    assert f"result{text}" in omitted or "surrogates" in omitted


@pytest.mark.parametrize(("value", "text"), CHANGED)
@pytest.mark.parametrize("around", [lambda value: value, lambda value: [value], Counted, lambda v: Model(by_year=v)])
def test_document_for_programs_is_strict_json(value: Any, text: str, around: Any) -> None:
    @flow
    def answer() -> Any:
        return around(value)

    run = run_loop.run_blocking(answer.spec, (), {})
    shown = document(outcome_of(run), run, 1.0)

    shown.encode()
    read = strict(shown)
    assert read["result"] is None
    assert "The result cannot be written as JSON" in read["resultError"]
    assert text.partition(" ")[2] in read["resultError"] or "surrogates" in read["resultError"]


@flow
def takes(value: Any = None, by_year: dict[int, Any] | None = None) -> None:
    pass


PLACE = FlowLocation("package.module", "takes", is_file=False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *CHANGED,
        (2**63, " is a whole number of more than 64 bits"),
        ({"a": [-(2**63) - 1]}, "['a'][0] is a whole number of more than 64 bits"),
        (Counted({2042: 1}), "['by_year'] has the key 2042"),
        (Model(by_year={2042: 1}), "['by_year'] has the key 2042"),
    ],
)
def test_parameter_that_json_changes_is_refused_by_name(value: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r"Parameter 'value' cannot be written as JSON") as caught:
        prepare(takes, {"value": value}, location=PLACE, image="image")

    assert f"value{text}" in str(caught.value) or "surrogates" in str(caught.value)


def test_parameter_that_contains_itself_is_refused_by_name() -> None:
    value: list[Any] = []
    value.append(value)

    with pytest.raises(ValueError, match=r"Parameter 'value' cannot be written as JSON"):
        prepare(takes, {"value": value}, location=PLACE, image="image")


def test_keys_that_the_annotation_converts_back_are_accepted() -> None:
    made = prepare(takes, {"by_year": {2042: 1}, "value": [2**63 - 1, -(2**63)]}, location=PLACE, image="image")

    assert made.flow_run["spec"]["flow"]["parameters"] == {"by_year": {"2042": 1}, "value": [2**63 - 1, -(2**63)]}
    with pytest.raises(ValueError, match=r"Parameter 'by_year' .*\['2042'\] is nan"):
        prepare(takes, {"by_year": {2042: math.nan}}, location=PLACE, image="image")
