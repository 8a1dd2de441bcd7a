"""What a driver writes into its Lease, and what the operator reads there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcluster_api import lease
from flowcluster_api.driver import Outcome
from flowcluster_api.lease import Demand
from tests.support.fake_api.patches import merged
from tests.support.strategies import CLEAN_TEXT, TEXT, json_values

NUMBERS = st.integers(0, 10**6)
GROUPS = st.dictionaries(CLEAN_TEXT, NUMBERS, max_size=3).map(lambda groups: tuple(sorted(groups.items())))
DEMANDS = st.builds(Demand, NUMBERS, st.lists(CLEAN_TEXT, max_size=5).map(tuple), GROUPS)
OUTCOMES = st.builds(
    Outcome,
    state=st.sampled_from(["Completed", "Failed", "Crashed", "Cancelled"]),
    reason=st.just("FlowEnded"),
    message=CLEAN_TEXT,
    exit_code=st.integers(0, 255),
)
EMPTY: dict[str, Any] = {"metadata": {"name": "greetings"}, "spec": {}}
#: Text that may be JSON, and may have the right fields.
ANY_TEXT = (
    TEXT
    | json_values(st.sampled_from(["workers", "retired", "state"])).map(json.dumps)
    | st.fixed_dictionaries(
        {"workers": st.integers() | json_values(), "retired": st.lists(json_values()) | json_values()}
    ).map(json.dumps)
)


@given(DEMANDS)
def test_demand_is_read_as_it_was_written(demand: Demand) -> None:
    assert Demand.from_json(demand.to_json()) == demand


@given(ANY_TEXT)
def test_demand_is_none_or_sound_whatever_the_text_is(text: str) -> None:
    demand = Demand.from_json(text)

    assert demand is None or (demand.workers >= 0 and all(isinstance(name, str) for name in demand.retired))


@pytest.mark.parametrize("text", ["[" * 5000, '{"workers":' + "1" * 5000 + "}"])
def test_demand_is_none_when_python_cannot_parse_the_json(text: str) -> None:
    assert Demand.from_json(text) is None


@given(CLEAN_TEXT.filter(bool), st.integers(10, 3600), st.none() | DEMANDS)
def test_renewal_is_read_as_it_was_written(holder: str, duration: int, demand: Demand | None) -> None:
    renewed = merged(
        EMPTY, lease.renewal(holder, duration, "2026-01-01T12:00:00.000001Z", "2026-01-01T11:00:00Z", demand)
    )

    assert lease.read(renewed) == lease.LeaseState(holder, "2026-01-01T12:00:00.000001Z", None, demand)


@given(DEMANDS, OUTCOMES)
def test_release_keeps_what_was_renewed_before(demand: Demand, outcome: Outcome) -> None:
    """The operator learns the driver's identity and demand, also at its end."""
    renewed = merged(EMPTY, lease.renewal("laptop", 60, "2026-01-01T12:00:00Z", "2026-01-01T11:00:00Z", demand))

    assert lease.read(merged(renewed, lease.release(outcome))) == lease.read(renewed)._replace(outcome=outcome)


@given(DEMANDS, DEMANDS)
def test_renewal_replaces_the_demand_before(first: Demand, second: Demand) -> None:
    body = EMPTY
    for demand in (first, second):
        body = merged(body, lease.renewal("laptop", 60, "2026-01-01T12:00:00Z", "2026-01-01T11:00:00Z", demand))

    assert lease.read(body).demand == second


@given(ANY_TEXT, ANY_TEXT)
def test_lease_is_read_whatever_its_annotations_are(outcome: str, demand: str) -> None:
    annotations = {lease.ANNOTATION_OUTCOME: outcome, lease.ANNOTATION_DEMAND: demand}
    signs = lease.read({"metadata": {"annotations": annotations}, "spec": {"holderIdentity": "laptop"}})

    assert signs.holder == "laptop"
