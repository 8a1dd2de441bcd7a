"""Flow runs on a shared Dask cluster: their shares, and what the keeper removes after their end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcluster import flow, get_dask_client, task
from flowcluster.task_runners import DaskTaskRunner
from flowcluster_api import driver, names
from flowcluster_api.keeper import Bounds, LiveRun
from tests.support.dask_processes import DaskProcesses
from tests.support.kept import CLUSTER, Kept
from tests.support.meeting import Gate, wait_at
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("shared runs")  # they share a cluster


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    """A cluster of one worker with four threads."""
    with DaskProcesses.start(tmp_path_factory.mktemp("dask")) as processes:
        processes.add_worker(f"{names.group_name(CLUSTER, 'default')}-worker-0123456789", threads=4)
        with processes.client() as client:
            client.wait_for_workers(1, timeout=60)
        yield processes


@pytest.fixture
def kept(processes: DaskProcesses, quick_keeper: None) -> Iterator[Kept]:
    """A keeper of that cluster, without a run."""
    with Kept.start() as kept:
        kept.instruct(default=Bounds(1, 1, 4))
        with kept.keeper("Dask", processes.address):
            wait_until(lambda: kept.signs().demand, "the keeper has looked")
            yield kept


@pytest.fixture
def as_run(processes: DaskProcesses, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], DaskTaskRunner]:
    """Return a function that makes the runner of a driver's pod of the FlowRun with a UID."""

    def runner(uid: str) -> DaskTaskRunner:
        monkeypatch.setenv(driver.ENV_CLUSTER_ADDRESS, processes.address)
        monkeypatch.setenv(driver.ENV_RUN_UID, uid)
        return DaskTaskRunner(address=processes.address)

    return runner


@pytest.fixture(params=["killed", "alive"])
def user(processes: DaskProcesses, gate: Gate, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """A program whose flow is the run of that UID, as in the driver's pod of its FlowRun."""
    settings = {driver.ENV_CLUSTER_ADDRESS: processes.address, driver.ENV_RUN_UID: request.param}
    program = Path(__file__).parents[1] / "support" / "programs" / "shared_user.py"
    process = subprocess.Popen(
        [sys.executable, str(program), "Dask", processes.address, gate.address],
        env={**processes.environment, **settings},
    )
    yield process
    process.kill()
    process.wait()


def left(dask_scheduler: Any) -> dict[str, Any]:
    """Return, on the scheduler, what runs of the SDK have there."""
    plugin = dask_scheduler.plugins.get("flowcluster-2")
    return {
        "clients": [client for client in dask_scheduler.clients if "run." in client],
        "topics": [topic for topic in dask_scheduler._broker._topics if "run." in topic],
        "keys": list(map(str, dask_scheduler.tasks)),
        **({name: list(getattr(plugin, name)) for name in ("sessions", "runs", "codes", "started")} if plugin else {}),
    }


def test_run_that_is_over_leaves_nothing(
    kept: Kept, processes: DaskProcesses, user: subprocess.Popen[bytes], gate: Gate, request: pytest.FixtureRequest
) -> None:
    """Its driver is killed, or continues and does not end its work. Child runs belong to the run, too."""
    uid = request.node.callspec.params["user"]
    kept.instruct((uid,))
    with processes.client() as watcher:
        wait_until(lambda: len(watcher.run_on_scheduler(left).get("started", [])) == 3, "all tasks wait", 100)
        if uid == "killed":
            user.kill()

        kept.instruct()

        wait_until(lambda: not any(watcher.run_on_scheduler(left).values()), "nothing of the run is left", 30)
        with Gate() as other:
            futures = watcher.map(wait_at, [other.address] * 4, pure=False)
            keys = {future.key for future in futures}
            wait_until(lambda: keys <= _executed(watcher), "tasks of others have all threads of the worker")
            watcher.cancel(futures)
        gate.close()  # tasks that still wait on the worker continue, and start nothing more
        wait_until(lambda: not any(watcher.run(busy).values()), "the worker is idle")
        assert not any(watcher.run_on_scheduler(left).values())
        assert list(watcher.run(threads).values()) == [4]


def _executed(watcher: Any) -> set[str]:
    """Return the keys that workers execute."""
    return set().union(*watcher.run(lambda dask_worker: set(dask_worker.active_threads.values())).values())


def threads(dask_worker: Any) -> int:
    """Return, on a worker, how many threads wait for tasks."""
    return len(dask_worker.executors["default"]._threads)


def busy(dask_worker: Any) -> bool:
    """Return, on a worker, whether it executes something besides this."""
    return bool(dask_worker.state.executing or dask_worker.active_threads)


def test_run_has_as_many_tasks_in_flight_as_its_share_allows(
    kept: Kept, processes: DaskProcesses, gate: Gate, as_run: Callable[[str], DaskTaskRunner]
) -> None:
    tasks = 12

    @flow(task_runner=as_run("uid-1"))
    def use() -> int:
        futures = [hold.submit(gate.address) for _ in range(tasks)]
        wait_until(lambda: in_flight() == 2, "two tasks are in flight")
        kept.instruct((LiveRun.of("uid-1", 0, 3),))
        wait_until(lambda: in_flight() == 3, "three tasks are in flight")
        kept.instruct((LiveRun.of("uid-1", 0, 1),))
        wait_until(
            lambda: watcher.run_on_scheduler(share_of, run="uid-1") == (0, 1), "the scheduler knows the last share"
        )
        opened = 0
        while in_flight() > 1:
            gate.open()
            opened += 1
        for _ in range(tasks - opened):
            gate.open()
        assert sum(future.result() for future in futures) == tasks
        return opened

    kept.instruct((LiveRun.of("uid-1", 0, 2),))
    with processes.client() as watcher:
        # The keeper reads its instructions in intervals: it must have the share before the run connects.
        wait_until(lambda: watcher.run_on_scheduler(share_of, run="uid-1") == (0, 2), "the scheduler knows the share")
        assert use() < tasks - 1


def share_of(run: str, dask_scheduler: Any) -> tuple[int, int]:
    """Return, on the scheduler, the share of a run."""
    priority, bound = dask_scheduler.plugins["flowcluster-runs"].share_of(run)
    return priority, bound


@task
def hold(address: str) -> int:
    """Wait at a gate."""
    wait_at(address)
    return 1


def in_flight() -> int:
    """Return how many tasks of this flow run the scheduler has that have not ended."""
    with get_dask_client() as client:
        return sum(client.run_on_scheduler(unfinished).values())


def unfinished(dask_scheduler: Any) -> dict[str, int]:
    """Return, on the scheduler, how many unfinished tasks are in each state."""
    states = ("waiting", "no-worker", "queued", "processing")
    return {state: sum(ts.state == state for ts in dask_scheduler.tasks.values()) for state in states}


def test_tasks_of_a_run_have_its_priority(
    kept: Kept, processes: DaskProcesses, as_run: Callable[[str], DaskTaskRunner]
) -> None:
    kept.instruct((LiveRun.of("uid-2", 7),))
    with processes.client() as watcher:
        wait_until(lambda: watcher.run_on_scheduler(share_of, run="uid-2") == (7, 8), "the scheduler knows the share")

    @flow(task_runner=as_run("uid-2"))
    def use() -> float:
        return priority.submit().result()

    assert use() == -7_000_000


@task
def priority() -> float:
    """Return the first part of this task's priority in Dask."""
    import distributed

    worker = distributed.get_worker()
    (state,) = [ts for ts in worker.state.tasks.values() if ts.state == "executing"]
    return float(state.priority[0])
