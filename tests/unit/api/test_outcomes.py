"""A driver's outcome on its way through the termination message, whatever is in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcluster_api.driver import OUTCOME_LIMIT, REASON_LIMIT, RESULT_LIMIT, Outcome, TaskCounts
from tests.support.strategies import CLEAN_TEXT, TEXT, json_values

STATES = st.sampled_from(["Completed", "Failed", "Crashed", "Cancelled"])
COUNTS = st.integers(0, 10**6)
SHORT = CLEAN_TEXT.map(lambda text: text[:100])
#: Up to several times what a termination message holds.
LONG = st.tuples(TEXT, st.integers(0, 2000)).map(lambda drawn: drawn[0] * drawn[1]).map(lambda text: text[:20_000])


def outcomes(message: st.SearchStrategy[str], result: st.SearchStrategy[str]) -> st.SearchStrategy[Outcome]:
    """Outcomes with such a message and such a result."""
    return st.builds(
        Outcome,
        state=STATES,
        reason=SHORT,
        message=message,
        exit_code=st.integers(-255, 255),
        tasks=st.builds(TaskCounts, COUNTS, COUNTS, COUNTS),
        result=st.none() | result,
        result_url=st.none() | SHORT,
        result_omitted=st.none() | SHORT,
    )


@given(outcomes(SHORT, SHORT))
def test_outcome_is_read_as_it_was_written(outcome: Outcome) -> None:
    assert Outcome.from_json(outcome.to_json()) == outcome


@given(outcomes(LONG, LONG))
def test_outcome_fits_into_a_termination_message(outcome: Outcome) -> None:
    """The kubelet cuts a longer one off, and nothing could be read of it."""
    text = outcome.to_json()

    assert len(text.encode()) <= OUTCOME_LIMIT
    assert Outcome.from_json(text).state == outcome.state


@given(outcomes(LONG, LONG))
def test_outcome_keeps_what_is_short_when_it_is_shortened(outcome: Outcome) -> None:
    read = Outcome.from_json(outcome.to_json())

    assert (read.reason, read.exit_code, read.tasks) == (outcome.reason, outcome.exit_code, outcome.tasks)
    assert read.result_url == outcome.result_url


@given(outcomes(SHORT, LONG.filter(lambda text: len(text.encode(errors="replace")) > OUTCOME_LIMIT)))
def test_outcome_has_a_reason_for_the_missing_result_when_that_is_too_long(outcome: Outcome) -> None:
    read = Outcome.from_json(outcome.to_json())

    assert read.result is None
    assert bool(read.result_omitted) or outcome.result is None
    assert read.message == outcome.message


def test_outcome_can_be_written_when_its_message_is_not_utf_8() -> None:
    """Python reads the name of a file that is not UTF-8 as halves of characters."""
    message = b"no such file: b\xe9b\xe9.csv".decode(errors="surrogateescape")
    outcome = Outcome(state="Failed", reason="FlowFailed", message=message, exit_code=1)

    assert Outcome.from_json(outcome.to_json()).message == "no such file: b?b?.csv"


@given(TEXT | json_values().map(json.dumps) | st.fixed_dictionaries({"state": STATES | json_values()}).map(json.dumps))
def test_outcome_is_read_or_refused_with_value_error(text: str) -> None:
    """A user's program can write anything there."""
    try:
        state = Outcome.from_json(text).state
    except ValueError:
        return
    assert state in ("Completed", "Failed", "Crashed", "Cancelled")


@pytest.mark.parametrize("text", ["[" * 4096, '{"a":' * 800, '{"state":"Failed","exitCode":' + "1" * 4300 + "0}"])
def test_outcome_is_refused_when_python_cannot_parse_the_json(text: str) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        Outcome.from_json(text)


NUMBERS = st.sampled_from([-(2**70), -1, 0, 7, 2**31, 2**63, 2**70])
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    name: json_values() | LONG | NUMBERS
    for name in ("reason", "message", "exitCode", "result", "resultUrl", "resultOmitted")
}
TASKS = st.fixed_dictionaries({}, optional=dict.fromkeys(("total", "completed", "failed"), FIELDS["exitCode"]))


@given(st.fixed_dictionaries({"state": STATES, "tasks": TASKS | json_values()}, optional=FIELDS))
def test_outcome_that_was_read_fits_into_a_status(data: dict[str, Any]) -> None:
    """What the CRD refuses would make each status write fail, for ever."""
    read = Outcome.from_json(json.dumps(data))

    assert len(read.reason) <= REASON_LIMIT
    assert len(read.result_omitted or "") <= REASON_LIMIT
    assert max(len(read.result or ""), len(read.result_url or "")) <= RESULT_LIMIT
    for number in (read.exit_code, read.tasks.total, read.tasks.completed, read.tasks.failed):
        assert abs(number) < 2**31
