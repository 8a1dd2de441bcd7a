"""What a driver reports of its work, and what the operator reads of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcluster_api import lease
from flowcluster_api.driver import Outcome
from flowcluster_api.lease import Demand
from flowcluster_api.progress import LARGEST, Progress, Tasks
from tests.support.fake_api.patches import merged
from tests.support.strategies import TEXT, json_values

TASKS = st.tuples(*[st.integers(0, 10**6)] * 3, st.integers(0, 10**6)).map(
    lambda parts: Tasks(sum(parts), parts[0], parts[1], parts[2])
)
PROGRESS = st.builds(Progress, st.none() | TASKS, st.none() | st.integers(0, LARGEST))
NAMES = st.sampled_from(["total", "running", "completed", "failed", "idle"])
ANY_TEXT = (
    TEXT | json_values(NAMES).map(json.dumps) | st.dictionaries(NAMES, json_values() | st.integers()).map(json.dumps)
)


@given(PROGRESS)
def test_progress_is_read_as_it_was_written(progress: Progress) -> None:
    assert Progress.from_json(progress.to_json()) == progress


@given(ANY_TEXT)
def test_progress_is_none_or_sound_whatever_the_text_is(text: str) -> None:
    progress = Progress.from_json(text)
    if progress is None:
        return
    tasks = progress.tasks or Tasks()

    assert all(0 <= number <= LARGEST for number in (*tasks, progress.idle or 0))
    assert all(type(number) is int for number in (*tasks, progress.idle or 0))
    assert tasks.running + tasks.completed + tasks.failed <= tasks.total


@pytest.mark.parametrize("text", ["[" * 5000, '{"total":' + "1" * 5000 + "}", "1", "[]", "null", "NaN"])
def test_progress_is_none_when_the_text_is_not_an_object(text: str) -> None:
    assert Progress.from_json(text) is None


@given(PROGRESS, PROGRESS)
def test_renewal_replaces_the_progress_before(first: Progress, second: Progress) -> None:
    body = {"metadata": {"name": "greetings"}, "spec": {}}
    for progress in (first, second):
        body = merged(body, lease.renewal("laptop", 60, "2026-01-01T12:00:00Z", "2026-01-01T11:00:00Z", None, progress))

    assert lease.read(body).progress == second


@given(PROGRESS)
def test_renewal_reports_progress_beside_demand(progress: Progress) -> None:
    patch = lease.renewal("laptop", 60, "2026-01-01T12:00:00Z", "2026-01-01T11:00:00Z", Demand(2), progress)
    signs = lease.read(merged({"metadata": {}, "spec": {}}, patch))

    assert (signs.demand, signs.progress) == (Demand(2), progress)


@given(st.dictionaries(st.sampled_from(["total", "completed", "failed"]), st.integers() | json_values()))
def test_counts_of_an_outcome_are_never_negative(tasks: dict[str, object]) -> None:
    text = json.dumps({"state": "Failed", "tasks": tasks})

    assert min(vars(Outcome.from_json(text).tasks).values()) >= 0
