"""What happens to the task runs of a Dask worker that dies, in each state that they can be in."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import distributed
import pytest

from flowcluster import allow_failure, flow, get_dask_client, task
from flowcluster.errors import ClusterLost, CrashedRun, ResultGone, UpstreamFailed
from flowcluster.futures import TaskFuture
from flowcluster.task_runners import DaskTaskRunner
from tests.support.waiting import end_of, wait_until

pytestmark = pytest.mark.xdist_group("dask losses")  # they share a cluster

LARGE = 1_000_000


@pytest.fixture(scope="module")
def nannies() -> Iterator[Any]:
    """A cluster of two workers of one thread each, which their nannies restart when they are killed."""
    # With its default, Dask gives up workers that take a while to start again after they were killed.
    patience = dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"})
    with patience, distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster


@pytest.fixture
def two(nannies: Any) -> Any:
    """The cluster's address and those of its two running workers."""
    with distributed.Client(nannies, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        return nannies.scheduler_address, list(client.scheduler_info(n_workers=-1)["workers"])


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A file in which tasks record their executions."""
    path = tmp_path / "ledger"
    path.touch()
    return path


def note(path: Path, line: str) -> None:
    """Append a line that stays when this process is killed."""
    with open(path, "a") as file:
        file.write(f"{line}\n")


def at(worker: str) -> Any:
    """Return a context in which submitted tasks run on that worker."""
    return dask.annotate(workers=[worker])


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def kill_worker(address: str) -> None:
    """Kill a worker of the current run, and wait until the scheduler has removed it."""
    with get_dask_client() as client:
        kill(client.run(os.getpid, workers=[address])[address])
        wait_until(lambda: address not in client.scheduler_info(n_workers=-1)["workers"], "the worker is gone")


def wait_for_begin(future: TaskFuture[Any]) -> None:
    """Wait until a task run's function is being executed."""
    wait_until(lambda: future.state.is_running(), f"{future.name} runs")


def test_finished_run_is_not_repeated(two: Any, ledger: Path) -> None:
    """A finished run is not executed again when its worker dies. A small result survives, a large one is lost."""
    address, (one, _) = two

    @task
    def work(size: int) -> bytes:
        note(ledger, str(size))
        return b"x" * size

    @flow(task_runner=DaskTaskRunner(address=address))
    def body() -> None:
        with at(one):
            small, large = work.submit(10), work.submit(LARGE)
        small.wait()
        large.wait()
        kill_worker(one)

        assert small.result() == b"x" * 10
        assert large.state.is_completed()
        with pytest.raises(ResultGone, match=f"'{large.name}' was lost with the worker"):
            large.result()

    body()

    assert sorted(ledger.read_text().split()) == ["10", str(LARGE)]


def test_run_that_was_being_executed_crashes_once(two: Any, ledger: Path) -> None:
    """A run whose worker is killed ends as Crashed, and is not repeated."""
    address, (one, other) = two

    @task
    def work() -> None:
        note(ledger, str(os.getpid()))
        signal.pause()

    @flow(task_runner=DaskTaskRunner(address=address))
    def body() -> str:
        with dask.annotate(workers=[one, other]):
            future = work.submit()
        wait_for_begin(future)
        kill(int(wait_until(ledger.read_text, "the run is here")))

        state = future.wait(30)
        assert state is not None
        assert state.is_crashed()
        assert "lost its worker" in str(state.message)
        return "checked"

    assert body() == "checked"

    assert len(ledger.read_text().split()) == 1


@pytest.mark.parametrize("fetched", [False, True], ids=["its own input", "a fetched input"])
def test_run_that_kills_its_worker_immediately_crashes_once(two: Any, ledger: Path, fetched: bool) -> None:
    """A run counts as started, however soon after its start the worker dies."""
    address, (one, other) = two

    @task
    def make() -> bytes:
        return b"x" * LARGE

    @task
    def die(given: Any) -> None:
        note(ledger, "died")
        kill(os.getpid())

    @flow(task_runner=DaskTaskRunner(address=address))
    def body() -> str:
        with at(one):
            made = make.submit()
        made.wait()
        with at(other if fetched else one):
            dead = die.submit(made)

        assert end_of(dead).is_crashed()
        assert "lost its worker" in str(dead.state.message)
        return "checked"

    assert body() == "checked"

    assert ledger.read_text().split() == ["died"]


def test_run_that_had_not_started_moves_to_another_worker(
    two: Any, ledger: Path, gate: Any, wait: Callable[[str], None]
) -> None:
    """A run that was queued on the dead worker is executed by another one, without a change of its state."""
    address, (one, other) = two
    path = gate.address

    @task
    def busy() -> None:
        wait(path)

    @task
    def work(number: int) -> int:
        note(ledger, str(number))
        return number

    @flow(task_runner=DaskTaskRunner(address=address))
    def body() -> str:
        with at(one):
            first = busy.submit()
        with at(other):
            second = busy.submit()
        for future in (first, second):
            wait_for_begin(future)
        with dask.annotate(workers=[one], allow_other_workers=True):
            queued = [work.submit(number) for number in range(6)]
        with get_dask_client() as client:
            wait_until(lambda: len(client.processing()[one]) > 1, "some wait on that worker")
        kill_worker(one)
        gate.open()

        assert end_of(first).is_crashed()
        assert end_of(second).is_completed()
        assert [future.result(60) for future in queued] == list(range(6))
        return "checked"

    assert body() == "checked"

    assert sorted(ledger.read_text().split()) == [str(number) for number in range(6)]


@pytest.mark.parametrize("size", [10, LARGE])
def test_run_whose_input_is_lost_gets_a_small_one_again(
    two: Any, ledger: Path, gate: Any, wait: Callable[[str], None], size: int
) -> None:
    """A run whose input is lost while it waits gets the driver's copy if it is small. Else its state names it."""
    address, (one, other) = two
    path = gate.address

    @task
    def make() -> bytes:
        note(ledger, "make")
        return b"x" * size

    @task
    def busy() -> None:
        wait(path)

    @task
    def use(given: bytes, _: None) -> int:
        note(ledger, "use")
        return len(given)

    @task
    def after(number: int) -> int:
        return number

    @flow(task_runner=DaskTaskRunner(address=address))
    def body() -> str:
        with at(other):
            slow = busy.submit()
        wait_for_begin(slow)
        with at(one):
            made = make.submit()
        made.wait()
        if size > 10:
            used = use.submit(made, slow)
        else:
            # Submitted before the driver knows the end, so that the cluster must pass the result on.
            with at(one):
                made = make.submit()
            used = use.submit(made, slow)
            made.wait()
        last = after.submit(used)
        kill_worker(one)
        gate.open()

        if size > 10:
            assert end_of(used, 30).is_crashed()
            assert f"'{made.name}' was lost with the worker" in str(used.state.message)
            with pytest.raises(UpstreamFailed, match=used.name):
                last.result(30)
        else:
            assert last.result(30) == size
        return "checked"

    assert body() == "checked"

    assert ledger.read_text().split() == (["make"] if size > 10 else ["make", "make", "use"])


def test_runs_downstream_of_a_lost_one_do_not_start(two: Any) -> None:
    """A run downstream of a crashed one never starts, unless it allows failure: then it gets the exception."""
    address, _ = two

    @task
    def die() -> None:
        kill(os.getpid())

    @task
    def describe(given: Any) -> str:
        return type(given).__name__

    @flow(task_runner=DaskTaskRunner(address=address))
    def body() -> str:
        dead = die.submit()
        blocked, allowed = describe.submit(dead), describe.submit(allow_failure(dead))

        with pytest.raises(UpstreamFailed, match=dead.name):
            blocked.result(60)
        assert allowed.result(60) == CrashedRun.__name__
        return "checked"

    assert body() == "checked"


def test_runs_survive_the_loss_of_a_worker_without_a_nanny(ledger: Path) -> None:
    """Lost workers are not restarted, and the scheduler is another process, which must get the plugin first."""

    @task
    def work(number: int) -> int:
        note(ledger, str(number))
        if number == 3:
            kill(os.getpid())
        return number

    kwargs = {"n_workers": 2, "threads_per_worker": 1, "worker_class": "distributed.Worker", "dashboard_address": ":0"}

    @flow(task_runner=DaskTaskRunner(cluster_class="distributed.SubprocessCluster", cluster_kwargs=kwargs))
    def body() -> list[int]:
        futures = work.map(range(20))
        states = [end_of(future) for future in futures]
        return [number for number, state in enumerate(states) if not state.is_completed()]

    lost = body()

    assert lost == [3]
    assert sorted(map(int, ledger.read_text().split())) == list(range(20))


def test_runs_crash_when_the_cluster_is_restarted(two: Any, gate: Any, wait: Callable[[str], None]) -> None:
    """Runs that a restart of the cluster interrupts end as Crashed. The flow continues on the new workers."""
    address, _ = two
    path = gate.address

    @task
    def busy() -> None:
        wait(path)

    @task
    def work(number: int) -> int:
        return number

    @flow(task_runner=DaskTaskRunner(address=address))
    def body() -> str:
        for _ in range(2):
            taken = busy.submit()
            wait_for_begin(taken)
            with get_dask_client() as client:
                client.restart()

            assert end_of(taken).is_crashed()
            assert work.submit(1).result(60) == 1
        return "checked"

    assert body() == "checked"


class ClusterBeingDeleted(distributed.LocalCluster):  # type: ignore[misc]
    """A cluster that must be queried to find out that it is being deleted, as a cluster on Kubernetes is."""

    def find_loss(self) -> ClusterLost:
        return ClusterLost("FlowRun gentle-otter was deleted")


def kill_only_worker() -> None:
    with get_dask_client() as client:
        (pid,) = client.run(os.getpid).values()
    kill(pid)


def disconnect() -> None:
    """Close the connection to the scheduler, as the scheduler's end does."""
    with get_dask_client() as client:
        comm = client.scheduler_comm.comm
        client.loop.add_callback(comm.abort)


@pytest.mark.parametrize("lose", [kill_only_worker, disconnect])
def test_task_of_a_cluster_being_deleted_has_that_cause_when_another_loss_is_noticed_first(
    lose: Callable[[], None],
) -> None:
    """A deleted cluster often loses a worker or its scheduler first: the flow fails with the cause, not a symptom."""
    size = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0"}

    @flow(task_runner=DaskTaskRunner(cluster_class=ClusterBeingDeleted, cluster_kwargs=size))
    def body() -> None:
        @task
        def wait_until_killed() -> None:
            distributed.Event("never set").wait()

        future = wait_until_killed.submit()
        wait_for_begin(future)
        lose()
        future.wait()

    state = body(return_state=True)

    assert state.is_crashed()
    with pytest.raises(ClusterLost, match="was deleted"):
        state.result()
