"""What a process measures by its own clock: silences of drivers, and numbers of workers at rest.

Each is compared with the plain computation over the whole history.
"""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.workers import ReplicaStability
from flowcluster_operator.trackers.heartbeats import HeartbeatTracker
from flowcluster_operator.trackers.replica_stability import ReplicaStabilityTracker
from tests.support.makers import KEY

OTHER = RunId("team", "other", "uid-other")
#: Seconds between two looks; quarters, so that sums are exact.
STEPS = st.integers(0, 40).map(lambda quarters: quarters / 4)
NUMBERS = st.integers(0, 3)
RENEWALS = st.sampled_from([None, "12:00:00", "12:00:10", "12:00:20"])


def times(steps: list[float]) -> list[float]:
    """The times of the looks."""
    return list(itertools.accumulate(steps, initial=100.0))[1:]


@given(st.lists(st.tuples(STEPS, NUMBERS, NUMBERS), min_size=1, max_size=12))
def test_settling_counts_from_the_last_change(looks: list[tuple[float, int, int]]) -> None:
    settling, clock = ReplicaStabilityTracker(), times([step for step, _, _ in looks])
    numbers = [(live, requested) for _, live, requested in looks]
    found = [settling.record(KEY, *pair, now) for pair, now in zip(numbers, clock, strict=True)]

    changes = [index for index in range(len(looks)) if index == 0 or numbers[index] != numbers[index - 1]]
    lowered = [index for index in range(1, len(looks)) if numbers[index][1] < numbers[index - 1][1]]
    since_lowered = clock[-1] - clock[lowered[-1]] if lowered else math.inf
    assert found[-1] == ReplicaStability(clock[-1] - clock[changes[-1]], since_lowered)


@given(st.lists(st.tuples(STEPS, NUMBERS, NUMBERS), min_size=1, max_size=6))
def test_settling_counts_each_run_by_itself(looks: list[tuple[float, int, int]]) -> None:
    settling, single = ReplicaStabilityTracker(), ReplicaStabilityTracker()
    for now, (_, live, requested) in zip(times([step for step, _, _ in looks]), looks, strict=True):
        settling.record(OTHER, requested, live, now)

        assert settling.record(KEY, live, requested, now) == single.record(KEY, live, requested, now)


@given(st.lists(st.tuples(STEPS, NUMBERS, NUMBERS), max_size=6), NUMBERS, NUMBERS)
def test_settling_begins_again_when_the_run_was_forgotten(
    looks: list[tuple[float, int, int]], live: int, requested: int
) -> None:
    settling = ReplicaStabilityTracker()
    for now, (_, *numbers) in zip(times([step for step, _, _ in looks]), looks, strict=True):
        settling.record(KEY, numbers[0], numbers[1], now)
    settling.forget(KEY)

    assert settling.record(KEY, live, requested, 10_000) == ReplicaStability(0, math.inf)


@given(st.lists(st.tuples(STEPS, RENEWALS), min_size=1, max_size=12))
def test_silence_counts_from_the_first_sight_of_the_last_renewal(looks: list[tuple[float, str | None]]) -> None:
    silences, clock = HeartbeatTracker(), times([step for step, _ in looks])
    found = [silences.silent_for(KEY, renewed, now) for (_, renewed), now in zip(looks, clock, strict=True)]

    first = next(index for index in range(len(looks)) if all(renewed == looks[-1][1] for _, renewed in looks[index:]))
    assert found[-1] == clock[-1] - clock[first]


@given(st.lists(STEPS, min_size=1, max_size=12))
def test_asking_counts_from_the_last_gap(steps: list[float]) -> None:
    """An API server that was away leaves the driver its time to renew."""
    silences, clock = HeartbeatTracker(), times(steps)
    silences.silent_for(KEY, None, 0)
    found = [silences.confirmed_for(KEY, now) for now in clock]

    gaps = [index for index in range(1, len(clock)) if clock[index] - clock[index - 1] > 3]
    assert found[-1] == clock[-1] - clock[gaps[-1] if gaps else 0]


@given(st.lists(STEPS, min_size=1, max_size=6))
def test_asking_begins_again_when_the_driver_renewed(steps: list[float]) -> None:
    silences, clock = HeartbeatTracker(), times(steps)
    silences.silent_for(KEY, "12:00:00", 0)
    for now in clock:
        silences.confirmed_for(KEY, now)
    silences.silent_for(KEY, "12:00:10", clock[-1])

    assert silences.confirmed_for(KEY, clock[-1] + 1) == 0


@given(st.lists(STEPS, min_size=1, max_size=6))
def test_silence_begins_again_when_the_run_was_forgotten(steps: list[float]) -> None:
    silences = HeartbeatTracker()
    for now in times(steps):
        silences.silent_for(KEY, "12:00:00", now)
    silences.forget(KEY)

    assert silences.silent_for(KEY, "12:00:00", 10_000) == 0
