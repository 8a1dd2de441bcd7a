"""How long a cluster has been idle, as the agent of its driver measures it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcluster import flow
from flowcluster.agent.activity import WAKE_SECONDS, Activity
from flowcluster.agent.protocol import Counted
from flowcluster.agent.scaling_plugin import ScalingPlugin
from flowcluster.cli.run_command import _with_cluster
from flowcluster.clusters.manifest import cluster_run
from flowcluster_api import driver
from flowcluster_api.progress import Progress, Tasks


class Clock:
    """A clock that only the test advances."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def activity(needs_scheduler: bool) -> tuple[Activity, Clock, list[float]]:
    """Return an activity, its clock, and the times at which it woke up the heartbeat."""
    clock, woken = Clock(), list[float]()
    return Activity(needs_scheduler, lambda: woken.append(clock.now), clock), clock, woken


def counted(done: int, unfinished: int = 0) -> Counted:
    return Counted(done + unfinished, 0, done, 0, unfinished)


#: Steps of a second: whether the driver can count, whether the scheduler answers, and the work on each side.
STEPS = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 2), st.integers(0, 2)), max_size=40)


@given(st.booleans(), STEPS)
def test_idleness_is_never_longer_than_the_time_without_work(needs_scheduler: bool, steps: list[Any]) -> None:
    """Each side has 0 (no work), 1 (work that has ended at the next look) or 2 (running work)."""
    seen, clock, _ = activity(needs_scheduler)
    done = transitions = 0
    last_work: float | None = None
    for counts, looks, at_driver, at_scheduler in steps:
        clock.now += 1
        done += at_driver == 1
        transitions += at_scheduler > 0
        # A driver that has never counted has no flow, and so no work.
        if (at_driver and (counts or seen._counts)) or at_scheduler:
            last_work = clock.now
        if counts:
            seen.record_counts(counted(done, unfinished=at_driver == 2))
        if looks:
            seen.record_scheduler(at_scheduler == 2, transitions)
        idle = seen.idle()

        if idle is not None and looks and (counts or not seen._counts):
            assert last_work is None or idle <= clock.now - last_work


@pytest.mark.parametrize("needs_scheduler", [True, False])
def test_idleness_does_not_grow_without_observations(needs_scheduler: bool) -> None:
    """A driver whose interpreter is blocked cannot report its work. A scheduler that does not answer can have work."""
    seen, clock, _ = activity(needs_scheduler)
    for _ in range(5):
        clock.now += 1
        seen.record_counts(counted(1))
        seen.record_scheduler(False, 1)
    idle = seen.idle()
    clock.now += 100
    assert (idle, seen.idle()) == (4, 4)

    seen.record_counts(counted(1))
    if needs_scheduler:
        assert seen.idle() == 4
    seen.record_scheduler(False, 1)
    assert seen.idle() == 104


@pytest.mark.parametrize(("needs_scheduler", "idle"), [(True, None), (False, 1)])
def test_counts_suffice_only_without_a_scheduler(needs_scheduler: bool, idle: int | None) -> None:
    seen, clock, _ = activity(needs_scheduler)
    seen.record_counts(counted(1))
    clock.now = 1
    seen.record_counts(counted(1))

    assert seen.progress() == Progress(Tasks(1, 0, 1, 0), idle)


def test_cluster_without_a_flow_is_measured_by_its_scheduler() -> None:
    seen, clock, _ = activity(True)
    assert seen.progress() is None

    for now in (0, 7):
        clock.now = now
        seen.record_scheduler(False, 3)
    assert seen.progress() == Progress(None, 7)


def test_work_after_an_idle_time_is_reported_immediately_and_other_work_is_not() -> None:
    seen, clock, woken = activity(False)
    for now, done in enumerate([0, 1, 2, 3]):
        clock.now = float(now)
        seen.record_counts(counted(done))
    assert woken == []

    clock.now += WAKE_SECONDS
    seen.record_counts(counted(3, unfinished=1))
    seen.record_counts(counted(3, unfinished=2))
    assert woken == [clock.now]


@pytest.mark.parametrize(
    ("states", "actors", "is_busy"),
    [
        ({}, {}, False),
        ({"memory": 3, "erred": 1, "released": 2}, {}, False),
        *(({state: 1}, {}, True) for state in ("processing", "queued", "no-worker")),
        ({}, {"actor": 1}, True),
    ],
)
def test_scheduler_has_work_while_tasks_run_or_could_run(states: Any, actors: Any, is_busy: bool) -> None:
    async def look() -> dict[str, Any]:
        worker = SimpleNamespace(
            address="w", name="w", status=None, nthreads=1, memory_limit=0, nbytes=0, processing={}, actors=actors,
            has_what={}, resources={},
        )  # fmt: skip
        scheduler = SimpleNamespace(
            handlers={}, workers={"w": worker}, transition_counter=7,
            task_prefixes={"x": SimpleNamespace(states=states, duration_average=-1)},
        )  # fmt: skip
        plugin = ScalingPlugin()
        await plugin.start(scheduler)
        return plugin.look([["", "", 1, 1, 1, {}]], 5.0, 5.0)

    found = asyncio.run(look())

    assert (found["is_busy"], found["transitions"]) == (is_busy, 7)


@pytest.mark.parametrize(("given", "found"), [(None, None), (300, 300)])
def test_idle_timeout_of_a_cluster_class_is_a_field_of_its_flow_run(given: int | None, found: int | None) -> None:
    made = cluster_run(
        "run", {"kind": "Dask"}, start_deadline_seconds=None, active_deadline_seconds=None, idle_timeout_seconds=given,
        lease_duration_seconds=60,
    )  # fmt: skip

    assert made["spec"].get("idleTimeoutSeconds") == found


@pytest.mark.parametrize(
    ("environment", "is_looked_at"),
    [({}, False), ({driver.ENV_CLUSTER_ADAPTS: "true"}, True), ({driver.ENV_CLUSTER_IDLE_TIMEOUT: "300"}, True)],
)
def test_driver_in_a_pod_polls_its_scheduler_when_the_operator_needs_that(
    environment: dict[str, str], is_looked_at: bool
) -> None:
    @flow
    def empty() -> None:
        return None

    cluster = {driver.ENV_CLUSTER_KIND: "Dask", driver.ENV_CLUSTER_ADDRESS: "tcp://scheduler:8786"}
    pod_agent: Any = object()
    runner: Any = _with_cluster(empty, cluster | environment, pod_agent).task_runner

    assert (runner.pod_agent is pod_agent) is is_looked_at


@pytest.mark.parametrize(("timeout", "waits"), [({}, True), ({driver.ENV_CLUSTER_IDLE_TIMEOUT: "300"}, False)])
def test_scheduler_of_a_fixed_cluster_is_polled_from_the_start_only_when_the_run_has_an_idle_timeout(
    timeout: dict[str, str], waits: bool
) -> None:
    @flow
    def empty() -> None:
        return None

    cluster = {driver.ENV_CLUSTER_KIND: "Dask", driver.ENV_CLUSTER_ADDRESS: "tcp://scheduler:8786"}
    fixed = {driver.ENV_CLUSTER_ADAPTS: driver.ADAPTS_WHEN_EDITED}
    pod_agent: Any = object()
    runner: Any = _with_cluster(empty, cluster | fixed | timeout, pod_agent).task_runner

    assert runner._when_edited is waits
