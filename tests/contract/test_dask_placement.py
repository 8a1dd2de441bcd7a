"""Where tasks run on Dask: annotations and resources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import dask.array
import distributed

from flowcluster import flow, get_dask_client, task
from flowcluster.task_runners import DaskTaskRunner
from tests.support.tasks import echo
from tests.support.waiting import end_of, wait_until

SMALL = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": ":0"}


def test_annotations_are_respected() -> None:
    """`dask.annotate` holds for tasks submitted in its block, also for those that wait for others first."""

    @task
    def mine() -> Any:
        worker = distributed.get_worker()
        state = worker.state.tasks[worker.get_current_task()]
        return state.priority[0], state.resource_restrictions

    @flow(task_runner=DaskTaskRunner(cluster_kwargs={**SMALL, "resources": {"GPU": 1}}))
    def body() -> Any:
        first = echo.submit(1)
        with dask.annotate(priority=10, resources={"GPU": 1}):
            annotated = [mine.submit(), mine.submit(wait_for=[first])]
        return [*annotated, mine.submit()]

    with_annotations, delayed, without = body()

    assert with_annotations == delayed == (-10, {"GPU": 1})
    assert without[0] == 0
    assert not without[1]


def test_worker_annotations_are_respected(tmp_path: Path) -> None:
    """`workers` and `allow_other_workers` say where a task may run; `retries` are the engine's, and happen once."""
    ledger = tmp_path / "ledger"

    @task
    def where() -> str:
        return str(distributed.get_worker().name)

    @task
    def fail() -> None:
        with open(ledger, "a") as file:
            file.write("x")
        raise ValueError("again")

    @flow(task_runner=DaskTaskRunner(cluster_kwargs={**SMALL, "n_workers": 2}))
    def body() -> Any:
        with get_dask_client() as client:
            names = {one["name"]: address for address, one in client.scheduler_info(n_workers=-1)["workers"].items()}
        with dask.annotate(workers=[names[1]]):
            there = [where.submit() for _ in range(4)]
        with dask.annotate(workers=["tcp://127.0.0.1:1"], allow_other_workers=True):
            anywhere = where.submit()
        with dask.annotate(retries=2):
            failed = fail.submit()
        failed.wait()
        return {future.result() for future in there}, anywhere.result() in ("0", "1"), ledger.read_text()

    assert body() == ({"1"}, True, "xxx")


def test_resources_of_a_task() -> None:
    """A task's `resources` are taken from its worker, together with those of an annotation."""

    @task(resources={"GPU": 1})
    def mine() -> Any:
        worker = distributed.get_worker()
        return worker.state.tasks[worker.get_current_task()].resource_restrictions

    @flow(task_runner=DaskTaskRunner(cluster_kwargs={**SMALL, "resources": {"GPU": 1, "DISK": 2}}))
    def body() -> Any:
        with dask.annotate(resources={"DISK": 2}):
            return [mine.submit(), mine.submit()]

    assert body() == [{"GPU": 1, "DISK": 2}] * 2


def test_resources_that_nobody_has_are_told_at_once(cluster: Any) -> None:
    """A run that no worker can execute fails, and says what it asked for and what there is; others go on."""

    @task(resources={"GPU": 3})
    def never() -> None:
        raise AssertionError("executed")

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> Any:
        return str(never.submit().wait(30)), echo.submit(1).result(), end_of(echo.submit(never.submit()), 30).name

    told, other, after = body()

    assert told.startswith("Failed('No worker of the cluster can run this task: it asks for resources 3 GPU, and the")
    assert "tcp://127.0.0.1:" in told
    assert told.endswith(": none. Ask for less, or start workers with these resources.')")
    assert (other, after) == (1, "NotReady")


def test_resources_are_looked_at_when_the_first_worker_comes() -> None:
    """Without a worker nobody knows what workers will offer."""

    @task(resources={"GPU": 1})
    def work() -> int:
        return 1

    @flow(task_runner=DaskTaskRunner(cluster_kwargs={**SMALL, "n_workers": 0}))
    def body() -> Any:
        waiting = work.submit()
        with get_dask_client() as client:
            wait_until(
                lambda: client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.unrunnable)), "it waits"
            )
            assert not waiting.done()
            client.cluster.scale(1)
        return str(waiting.wait(30))

    assert "asks for resources 1 GPU" in body()
