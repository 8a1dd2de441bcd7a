"""Pools of processes in tasks, on every task runner."""

from __future__ import annotations

import asyncio
import multiprocessing
from typing import Any

from flowcluster import flow, task
from flowcluster.task_runners import TaskRunner


@task
def spread(numbers: list[int]) -> Any:
    # More processes than numbers: some wait for work when the pool ends them by SIGTERM.
    with multiprocessing.get_context("fork").Pool(4) as pool:
        return pool.map(abs, numbers)


def test_async_flow_continues_when_a_pool_of_its_task_ends(runner: TaskRunner) -> None:
    @flow(task_runner=runner)
    async def body() -> Any:
        first: Any = await spread.submit([-1])
        second: Any = await spread.submit([-2], wait_for=[first])
        return first, second

    assert asyncio.run(body()) == ([1], [2])
