"""How many workers each group of a shared cluster needs, and which of them retire."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcluster.agent.scaling_plugin import Group, ScalingPlugin

HOME = Group("", "mine-default", 0, 10, 2, {})
GPU = Group("gpu", "mine-gpu", 0, 4, 4, {"GPU": 2.0})
BIG = Group("big", "mine-big", 0, 4, 1, {"GPU": 8.0, "disk": 1.0})


def worker(name: str, *, nbytes: int = 0) -> Any:
    """Return the record that the scheduler has of an idle worker."""
    return SimpleNamespace(
        address=name, name=name, status=None, nthreads=1, memory_limit=0, nbytes=nbytes, processing={}, actors={},
        has_what={"x": 1} if nbytes else {}, resources={},
    )  # fmt: skip


class Scheduler:
    """A scheduler with tasks that no worker has started.

    Attributes:
        retired: addresses of workers that began to retire.
    """

    def __init__(self, tasks: list[dict[str, float]], workers: list[Any], seconds: float = -1) -> None:
        self.handlers: dict[str, Any] = {}
        self.transition_counter = 0
        self.workers = {ws.address: ws for ws in workers}
        prefix = SimpleNamespace(name="work", states={"no-worker": len(tasks)}, duration_average=seconds)
        self.task_prefixes = {"work": prefix}
        self.unrunnable = [SimpleNamespace(prefix=prefix, resource_restrictions=needs) for needs in tasks]
        self.retired: list[str] = []

    async def retire_workers(self, workers: list[str], **_: Any) -> None:
        self.retired += workers


def look(scheduler: Scheduler, *groups: Group) -> dict[str, int]:
    """Return the demand of the groups at one look, after the look has begun to retire workers."""

    async def once() -> dict[str, int]:
        plugin = ScalingPlugin()
        await plugin.start(scheduler)
        found: dict[str, int] = plugin.look([list(group) for group in groups], 5.0, 0.0)["demand"]
        await asyncio.gather(*plugin._retiring.values())
        return found

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("tasks", "found"),
    [
        ([], (0, 0, 0)),
        ([{}] * 5, (3, 0, 0)),
        ([{"GPU": 1}] * 5, (0, 3, 0)),  # two fit on a worker
        ([{"GPU": 2}] * 3, (0, 3, 0)),  # one fits
        ([{"GPU": 0.1}] * 5, (0, 2, 0)),  # as many as threads
        ([{"GPU": 4}] * 3, (0, 0, 3)),  # only larger workers offer that
        ([{"GPU": 1, "disk": 1}], (0, 0, 1)),
        ([{"TPU": 1}] * 3, (0, 0, 0)),  # no group offers that
        ([{}] * 2 + [{"GPU": 2}] * 2, (1, 2, 0)),
    ],
)
def test_task_counts_for_the_first_group_that_has_its_resources(
    tasks: list[dict[str, float]], found: tuple[int, int, int]
) -> None:
    demand = look(Scheduler(tasks, []), HOME, GPU, BIG)

    assert (demand[""], demand["gpu"], demand["big"]) == found


def test_tasks_without_resources_count_for_a_group_that_can_have_workers() -> None:
    assert look(Scheduler([{}] * 4, []), HOME._replace(maximum=0), GPU) == {"": 0, "gpu": 1}


def test_tasks_of_known_duration_count_as_their_time() -> None:
    assert look(Scheduler([{"GPU": 2}] * 50, [], seconds=0.1), HOME, GPU) == {"": 0, "gpu": 1}


@given(st.integers(0, 300), st.integers(1, 9))
def test_demand_of_equal_tasks_is_rounded_once(tasks: int, fitting: int) -> None:
    group = GPU._replace(maximum=1_000, threads=10, resources={"GPU": float(fitting)})

    assert look(Scheduler([{"GPU": 1.0}] * tasks, []), HOME, group)["gpu"] == -(-tasks // fitting)


def test_only_group_gets_all_tasks_with_any_resources() -> None:
    """A run with a cluster of its own has one group."""
    assert look(Scheduler([{"GPU": 1}] * 4, []), HOME) == {"": 2}


def test_idle_workers_retire_down_to_the_minimum_of_their_own_group() -> None:
    scheduler = Scheduler([], [worker(f"mine-{group}-worker-{n}") for group in ("default", "gpu") for n in range(3)])

    look(scheduler, HOME._replace(minimum=2), GPU._replace(minimum=1))

    assert sorted(name.rpartition("-worker-")[0] for name in scheduler.retired) == ["mine-default"] + ["mine-gpu"] * 2


def test_last_worker_with_a_result_stays_in_any_group() -> None:
    scheduler = Scheduler([], [worker("mine-default-worker-1"), worker("mine-gpu-worker-1", nbytes=9), worker("other")])

    look(scheduler, HOME, GPU)

    assert sorted(scheduler.retired) == ["mine-default-worker-1", "other"]
