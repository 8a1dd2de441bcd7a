"""What the keeper of a Ray cluster does at each look, with a head that answers immediately."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("ray")

from flowcluster.agent.activity import Activity
from flowcluster.agent.keeper import ray_cluster
from flowcluster.agent.keeper.ray_cluster import Holdings, Load, RayKeeper
from flowcluster.agent.pending_report import PendingReport
from flowcluster_api.keeper import Instructions, LiveRun


class FakeHead:
    """A head with the jobs of some runs.

    Attributes:
        jobs: drivers of the runs that have a job.
        has_waiting: whether there are waiting tasks.
        dropped: drivers whose waiting tasks the keeper dropped outside a release.
        shares: the share of each run.
    """

    def __init__(self) -> None:
        self.jobs = {"live": "driver-of-live", "over": "driver-of-over"}
        self.has_waiting = False
        self.dropped: list[Any] = []
        self.shares = b""

    async def load(self) -> Load:
        return Load(0, self.has_waiting)

    async def held(self) -> dict[str, Holdings]:
        found = {}
        for uid, driver in self.jobs.items():
            found[uid] = Holdings()
            found[uid].drivers.append(driver)
        return found

    async def release(self, uid: str, held: Holdings) -> None:
        del self.jobs[uid]

    async def drop_tasks(self, driver: Any) -> None:
        self.dropped.append(driver)

    async def put(self, key: bytes, value: bytes) -> None:
        self.shares = value


class FakeHeartbeat:
    """A heartbeat that lists one run, and reads the Lease before each look."""

    instructions = Instructions(runs=(LiveRun.of("live"),))
    reading = 0
    report = PendingReport()


@pytest.mark.parametrize("has_waiting", [True, False])
def test_tasks_that_a_released_run_submits_later_are_dropped(
    has_waiting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, heartbeat = FakeHead(), FakeHeartbeat()
    monkeypatch.setattr(ray_cluster, "Head", lambda channel, metadata: head)

    async def look(times: int) -> None:
        for _ in range(times):
            heartbeat.reading += 1
            await side._poll(None)

    side = RayKeeper("head:6379", None, heartbeat, Activity(True, lambda: None))  # type: ignore[arg-type]
    asyncio.run(look(3))
    assert list(head.jobs) == ["live"]
    head.has_waiting, head.dropped = has_waiting, []
    asyncio.run(look(1))

    assert head.dropped == (["driver-of-over"] if has_waiting else [])
