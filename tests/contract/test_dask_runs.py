"""What the Dask runner records of each run, from its submission to its end."""

from __future__ import annotations

import os
import signal
from typing import Any

from flowcluster import flow, get_dask_client, task
from flowcluster.task_runners import DaskTaskRunner
from tests.support.tasks import echo
from tests.support.waiting import wait_until


def test_cancelled_run_does_not_start(cluster: Any, gate: Any, wait: Any) -> None:
    """A run that is cancelled before its start is removed from the scheduler."""
    path = gate.address

    @task
    def busy() -> None:
        wait(path)

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> str:
        first = busy.submit()
        second = echo.submit(first)
        key = second.handle.key
        with get_dask_client() as client:

            def known() -> Any:
                return client.run_on_scheduler(lambda dask_scheduler: key in dask_scheduler.tasks)

            wait_until(known, "the scheduler has it")
            second.cancel()
            wait_until(lambda: not known(), "the scheduler has forgotten it")
        gate.open()
        first.wait()
        return str(second.state)

    assert body() == "Cancelled('Task run was cancelled.')"


def test_handle_has_the_worker_and_the_times_of_its_run(cluster: Any) -> None:
    """A run's handle has its worker's address and the times of its start and end."""
    import time

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> Any:
        future = echo.submit(1)
        future.wait()
        return future.handle.worker, future.handle.started_at, future.handle.ended_at

    before = time.time()
    worker, started, ended = body()

    assert worker in cluster.scheduler.workers
    assert before - 1 < started <= ended < time.time() + 1


def test_lost_worker_crashes_the_task() -> None:
    """A task whose worker dies ends as Crashed. The flow continues with another worker."""
    kwargs = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0"}

    @task
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    @flow(task_runner=DaskTaskRunner(cluster_kwargs=kwargs))
    def body() -> Any:
        state = die.submit().wait()
        assert state is not None
        return state.is_crashed(), state.message, echo.submit("alive").result()

    crashed, message, alive = body()

    assert crashed
    assert "lost its worker tcp://" in message
    assert alive == "alive"
