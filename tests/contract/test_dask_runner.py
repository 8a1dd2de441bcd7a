"""What only the Dask runner promises: its clusters, its client, results that stay where they are."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path
from typing import Any

import dask
import dask.array
import distributed
import pytest

from flowcluster import flow, get_dask_client, task
from flowcluster.errors import ClusterUnreachable, NoFlowRunError, ResultGone
from flowcluster.task_runners import DaskTaskRunner
from tests.support.waiting import wait_until

SMALL = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": ":0"}


@task
def echo(value: Any) -> Any:
    return value


@task
def where() -> int:
    return os.getpid()


def small_cluster(**kwargs: Any) -> Any:
    """A function that makes a cluster."""
    return distributed.LocalCluster(**{**SMALL, **kwargs})


class Adapting(distributed.LocalCluster):
    """Remembers what it was asked to adapt to, and answers with a coroutine, as some clusters do."""

    asked: Any = None

    def adapt(self, **kwargs: Any) -> Any:
        async def adapt() -> None:
            type(self).asked = kwargs

        return adapt()


@pytest.mark.parametrize(
    "cluster_class",
    ["distributed.LocalCluster", distributed.LocalCluster, small_cluster, lambda **kwargs: small_cluster()],
)
def test_cluster_class_is_a_name_a_class_or_a_function(cluster_class: Any) -> None:
    """Anything that makes a cluster will do."""

    @flow(task_runner=DaskTaskRunner(cluster_class=cluster_class, cluster_kwargs=SMALL))
    def body() -> Any:
        return echo.submit(1)

    assert body() == 1


def test_adapt_kwargs_reach_the_cluster() -> None:
    """`adapt` is called with them, and awaited where it gives a coroutine; without them it is not called."""

    @flow
    def body() -> None:
        pass

    body.with_options(task_runner=DaskTaskRunner(cluster_class=Adapting, cluster_kwargs=SMALL))()
    assert Adapting.asked is None

    runner = DaskTaskRunner(cluster_class=Adapting, cluster_kwargs=SMALL, adapt_kwargs={"minimum": 0, "maximum": 2})
    body.with_options(task_runner=runner)()
    assert Adapting.asked == {"minimum": 0, "maximum": 2}


@pytest.mark.parametrize("more", [{"cluster_class": "x.Y"}, {"cluster_kwargs": {"a": 1}}, {"adapt_kwargs": {"b": 1}}])
def test_address_and_new_cluster_exclude_each_other(more: dict[str, Any]) -> None:
    """An address leaves nothing to make."""
    with pytest.raises(ValueError, match="not both"):
        DaskTaskRunner(address="tcp://127.0.0.1:1", **more)


def test_asynchronous_is_refused() -> None:
    """Whether the client is asynchronous is the runner's business."""
    with pytest.raises(ValueError, match="leave it out of client_kwargs"):
        DaskTaskRunner(client_kwargs={"asynchronous": True})


def test_unknown_cluster_class_is_named() -> None:
    """A dotted name that leads nowhere fails the flow with that name."""

    @flow(task_runner=DaskTaskRunner(cluster_class="distributed.NoSuchCluster"))
    def body() -> None:
        pass

    with pytest.raises(ValueError, match=r"no cluster class 'distributed\.NoSuchCluster'"):
        body()


def test_tasks_run_on_the_cluster(cluster: Any) -> None:
    """A submitted task runs in a worker's process; a direct call in the flow's."""

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> tuple[int, int]:
        return where.submit().result(), where()

    on_cluster, here = body()

    assert on_cluster != here == os.getpid()


def test_default_client_stays_as_it_was(cluster: Any) -> None:
    """The run's client is not the process's default one."""

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> None:
        with pytest.raises(ValueError, match="No global client"):
            distributed.get_client()

    body()


def test_collections_compute_on_the_runs_cluster(cluster: Any) -> None:
    """`get_dask_client` serves Dask's collections in the flow and in tasks on workers."""

    def total() -> tuple[float, str]:
        with get_dask_client() as client:
            value = float(dask.array.ones(8, chunks=4).sum().compute())
            return value, client.scheduler.address

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> Any:
        return [task(total).submit().result(), total(), task(total)()]

    assert body() == [(8.0, cluster.scheduler_address)] * 3


def test_dask_client_needs_a_dask_run() -> None:
    """Where the run has no Dask cluster there is no client."""

    @flow
    def body() -> None:
        with get_dask_client():
            raise AssertionError("got one")

    with pytest.raises(NoFlowRunError, match="has no Dask cluster"):
        body()


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
        return str(never.submit().wait(30)), echo.submit(1).result(), echo.submit(never.submit()).wait(30).name

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


def test_cancelled_run_does_not_begin(cluster: Any, gate: Any, wait: Any) -> None:
    """A run that has not begun when it is cancelled is taken back from the scheduler."""
    path = gate.path

    @task
    def busy() -> None:
        wait(path)

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> str:
        first = busy.submit()
        second = echo.submit(first)
        key = second.handle.key
        with get_dask_client() as client:
            known = lambda: client.run_on_scheduler(lambda dask_scheduler: key in dask_scheduler.tasks)  # noqa: E731
            wait_until(known, "the scheduler has it")
            second.cancel()
            wait_until(lambda: not known(), "the scheduler has forgotten it")
        gate.open()
        first.wait()
        return str(second.state)

    assert body() == "Cancelled('Task run was cancelled.')"


def test_runs_know_where_and_when_they_were_executed(cluster: Any) -> None:
    """A run's handle has its worker's address and the time of its begin and end."""
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


def test_state_is_running_while_the_function_runs(cluster: Any, gate: Any, wait: Any) -> None:
    """A run is Pending until a worker begins with it."""
    path = gate.path

    @task
    def busy() -> None:
        wait(path)

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> bool:
        future, after = busy.submit(), None
        after = echo.submit(future)
        wait_until(lambda: future.state.is_running(), "the run has begun")
        assert after.state.is_pending()
        gate.open()
        return future.wait().is_completed()

    assert body()


def test_results_stay_on_the_cluster_until_they_are_needed(cluster: Any) -> None:
    """A result that goes from task to task never comes to the driver, and is freed with its future."""

    @task
    def make() -> bytes:
        return b"x" * 100_000

    @task
    def size(value: bytes) -> int:
        return len(value)

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> int:
        made = make.submit()
        result = size.submit(made).result()

        assert not made.state.data.is_here

        key = made.handle.future.key
        with get_dask_client() as client:
            assert key in client.refcount
            del made
            gc.collect()
            client.who_has()  # the client counts on its own thread, in order

            assert key not in client.refcount
        return result

    assert body() == 100_000


def test_result_that_was_not_fetched_goes_with_the_run(cluster: Any) -> None:
    """After the run its futures still tell the state, and say what to do for the result."""
    kept: list[Any] = []

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> Any:
        # Too large to come along when the other is fetched.
        kept.extend([echo.submit(1), echo.submit("x" * 100_000)])
        return kept[0]

    body()

    assert kept[0].result() == 1
    assert kept[1].state.is_completed()
    with pytest.raises(ResultGone, match="return the future from the flow"):
        kept[1].result()


def test_result_that_cannot_be_sent_fails_its_run(cluster: Any) -> None:
    """A result that no other process can hold fails the run that made it, by name, and no other."""

    @task
    def make() -> Any:
        import threading

        return [threading.Lock()]

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> str:
        made, other = make.submit(), echo.submit(1)
        blocked = echo.submit(made).wait()
        assert other.result() == 1
        assert blocked.name == "NotReady"
        return str(made.wait())

    assert "Failed(\"The result, of type list, cannot be sent: TypeError: cannot pickle '_thread.lock'" in body()


def test_large_code_is_sent_once(cluster: Any) -> None:
    """A function with much data inside travels to the cluster once, not with every run."""
    table = os.urandom(50_000)

    def lookup(index: int) -> int:
        return table[index]

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> Any:
        return task(lookup).map(range(3))

    assert body() == list(table[:3])


def test_code_that_a_worker_cannot_load_fails_that_task(cluster: Any) -> None:
    """A module that the workers lack is named in the state of the task run."""

    class Unloadable:
        def __reduce__(self) -> Any:
            return __import__, ("no_such_module_on_workers",)

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> str:
        state = echo.submit(Unloadable()).wait()
        assert state is not None
        return f"{state}"

    assert "could not be loaded on the worker: ModuleNotFoundError: No module named 'no_such_module" in body()


def test_exception_that_the_driver_cannot_read_keeps_its_text(cluster: Any) -> None:
    """An exception that cannot be pickled arrives as its text; one with its own constructor as itself."""

    class Odd(Exception):
        def __init__(self, code: int, where: str) -> None:
            super().__init__(f"code {code} at {where}")
            self.code = code

    @task
    def raise_odd() -> None:
        raise Odd(5, "home")

    @task
    def raise_locked() -> None:
        import threading

        error = ValueError("locked")
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> Any:
        odd = raise_odd.submit().result(raise_on_failure=False)
        locked = raise_locked.submit().result(raise_on_failure=False)
        return str(odd), odd.code, type(odd).__name__, str(locked)  # type: ignore[attr-defined]

    assert body() == ("code 5 at home", 5, "Odd", "ValueError: locked")


def test_lost_worker_crashes_the_task() -> None:
    """A task whose worker dies ends as Crashed; the flow goes on with another one."""
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


def test_nobody_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that does not answer in time ends the flow with what to check."""
    monkeypatch.setenv("FLOWCLUSTER_CLUSTER_TIMEOUT", "0.2")

    @flow(task_runner=DaskTaskRunner(address="tcp://127.0.0.1:9"))
    def body() -> None:
        raise AssertionError("started")

    state = body(return_state=True)

    assert state.is_crashed()
    with pytest.raises(ClusterUnreachable, match=r"Nothing answered at tcp://127\.0\.0\.1:9 within 0\.2 s"):
        state.result()


def test_same_runner_serves_flows_inside_of_each_other() -> None:
    """One configured instance makes a cluster for each run that uses it."""
    runner = DaskTaskRunner(cluster_kwargs=SMALL)

    @flow(task_runner=runner)
    def inner(value: Any) -> Any:
        return echo.submit(value)

    @flow(task_runner=runner)
    def outer() -> Any:
        return [inner(echo.submit(1)), echo.submit(2)]

    assert outer() == [1, 2]


def test_async_flow_gathers_results(cluster: Any) -> None:
    """An async flow on Dask gathers its futures without blocking its loop."""
    import asyncio

    @task
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    async def body() -> list[int]:
        futures = [double.submit(number) for number in range(5)]
        return list(await asyncio.gather(*(future.result() for future in futures)))

    assert asyncio.run(body()) == [0, 2, 4, 6, 8]
