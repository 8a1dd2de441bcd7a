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
    """`dask.annotate` applies to tasks submitted in its block, also to those that wait for upstream tasks first."""

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
    """`workers` and `allow_other_workers` select the workers of a task. The engine applies `retries`, and only once."""
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


def test_resources_of_a_task_and_of_annotations_are_reserved_on_its_worker() -> None:
    """A task reserves its `resources` on its worker, together with those of an annotation."""

    @task(resources={"GPU": 1})
    def mine() -> Any:
        worker = distributed.get_worker()
        return worker.state.tasks[worker.get_current_task()].resource_restrictions

    @flow(task_runner=DaskTaskRunner(cluster_kwargs={**SMALL, "resources": {"GPU": 1, "DISK": 2}}))
    def body() -> Any:
        with dask.annotate(resources={"DISK": 2}):
            return [mine.submit(), mine.submit()]

    assert body() == [{"GPU": 1, "DISK": 2}] * 2


def test_task_fails_immediately_when_no_worker_has_its_resources(cluster: Any) -> None:
    """The state names the resources that the run requests and those of the workers. Other runs continue."""

    @task(resources={"GPU": 3})
    def never() -> None:
        raise AssertionError("executed")

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> Any:
        return str(never.submit().wait(30)), echo.submit(1).result(), end_of(echo.submit(never.submit()), 30).name

    failed, other, after = body()

    assert failed.startswith("Failed('No worker of the cluster can run this task: it requests resources 3 GPU, and the")
    assert "tcp://127.0.0.1:" in failed
    assert failed.endswith(": none. Request less, or start workers with these resources.')")
    assert (other, after) == (1, "NotReady")


def test_resources_are_checked_when_the_first_worker_connects() -> None:
    """Before the first worker connects, the resources of workers are unknown."""

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

    assert "requests resources 1 GPU" in body()
