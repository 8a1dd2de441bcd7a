"""What holds for all outcomes."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowcluster_api.driver import OUTCOME_LIMIT, Outcome, TaskCounts

COUNTS = st.integers(0, 10**6)
#: All characters that UTF-8 can encode.
TEXTS = st.text(st.characters(codec="utf-8"))
OUTCOMES = st.builds(
    Outcome,
    state=st.sampled_from(["Completed", "Failed", "Crashed", "Cancelled"]),
    reason=st.from_regex("[A-Z][A-Za-z]{0,30}", fullmatch=True),
    message=TEXTS,
    exit_code=st.integers(0, 255),
    tasks=st.builds(TaskCounts, COUNTS, COUNTS, COUNTS),
    result=st.none() | TEXTS,
    result_url=st.none() | TEXTS,
    result_omitted=st.none() | TEXTS,
)


@given(OUTCOMES)
def test_outcome_is_read_back(outcome: Outcome) -> None:
    assert Outcome.from_json(outcome.to_json()) == outcome


@given(OUTCOMES, st.text(), st.integers(0, 3000))
@example(Outcome(state="Failed", reason="A", message="", exit_code=1), "\udce9", 1)
def test_outcome_with_any_message_fits_into_a_termination_message(outcome: Outcome, text: str, times: int) -> None:
    written = dataclasses.replace(outcome, message=text * times, result=text * times).to_json()
    found = Outcome.from_json(written)

    assert len(written.encode()) <= OUTCOME_LIMIT
    assert (found.state, found.reason, found.exit_code) == (outcome.state, outcome.reason, outcome.exit_code)
    assert found.tasks == outcome.tasks


@given(st.text())
@example("[" * OUTCOME_LIMIT)
@example('{"state": ["Completed"]}')
@example("9" * OUTCOME_LIMIT)
def test_text_that_is_not_an_outcome_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not"):
        Outcome.from_json(text)
