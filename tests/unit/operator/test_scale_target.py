"""How many workers a run gets, for whatever bounds and demands."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flowcluster_api.lease import Demand
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.model.workers import Scale
from flowcluster_operator.policies.scale_target import scale
from flowcluster_operator.settings import Settings
from tests.support.makers import observed, spec

COUNTS = st.integers(0, 10_000)
LIMITS = st.integers(1, 1000)
#: What the CRD admits: the minimum is not greater than the maximum.
BOUNDS = st.tuples(COUNTS, COUNTS).map(sorted).map(lambda pair: {"minimum": pair[0], "maximum": pair[1]}) | COUNTS.map(
    lambda minimum: {"minimum": minimum}
)


def scale_of(workers: dict[str, Any], limit: int, demand: int | None) -> Scale:
    """The scale of a run with these bounds whose driver needs that many workers."""
    body = spec(cluster={"kind": "Dask", "workers": workers})
    signs = DriverHeartbeat("laptop", None, 1, 0, None if demand is None else Demand(demand))
    return scale(observed(body, driver=signs), Settings(max_workers=limit))


@given(BOUNDS, LIMITS, st.none() | COUNTS)
def test_target_is_within_the_bounds_and_the_limit(workers: dict[str, int], limit: int, demand: int | None) -> None:
    found = scale_of(workers, limit, demand)

    assert 0 <= found.minimum <= found.target <= found.maximum <= limit


@given(BOUNDS, LIMITS, COUNTS)
def test_target_is_the_demand_when_that_is_within_the_bounds(workers: dict[str, int], limit: int, demand: int) -> None:
    found = scale_of(workers, limit, demand)

    assert found.target == demand or not found.minimum <= demand <= found.maximum


@given(BOUNDS, LIMITS, COUNTS, COUNTS)
def test_target_grows_with_the_demand(workers: dict[str, int], limit: int, first: int, second: int) -> None:
    few, many = sorted([first, second])

    assert scale_of(workers, limit, few).target <= scale_of(workers, limit, many).target


@given(BOUNDS, LIMITS)
def test_target_is_the_minimum_when_the_driver_names_no_demand(workers: dict[str, int], limit: int) -> None:
    assert scale_of(workers, limit, None).target == min(workers["minimum"], limit)


@given(COUNTS, LIMITS)
def test_maximum_is_the_minimum_and_at_least_one_when_the_spec_has_none(minimum: int, limit: int) -> None:
    assert scale_of({"minimum": minimum}, limit, None).maximum == min(max(minimum, 1), limit)
