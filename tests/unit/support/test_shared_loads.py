"""What tests expect of runs that share a cluster."""

from __future__ import annotations

import pytest

from tests.support.shared_loads import fair_seconds


@pytest.mark.parametrize(
    ("loads", "threads", "expected"),
    [
        ({"only": 8.0}, 4, {"only": 2.0}),
        ({"a": 4.0, "b": 4.0}, 4, {"a": 2.0, "b": 2.0}),
        ({"short": 1.0, "long": 9.0}, 2, {"short": 1.0, "long": 5.0}),
    ],
)
def test_fair_time_is_that_of_equal_parts(loads: dict[str, float], threads: int, expected: dict[str, float]) -> None:
    assert fair_seconds(loads, threads) == expected
