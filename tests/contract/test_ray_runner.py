"""What only the Ray runner promises: its Ray, resources, results that stay where they are, lost workers."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import ray

from flowcluster import allow_failure, flow, get_run_logger, remote_options, task
from flowcluster.context import flow_run
from flowcluster.errors import ClusterUnreachable, ResultGone
from flowcluster.runners.ray_options import Capacity, options_for
from flowcluster.runners.ray_options import demand as demand_of
from flowcluster.task_runners import RayTaskRunner
from tests.contract.conftest import SMALL_RAY
from tests.support.ray_head import RayHead
from tests.support.waiting import wait_until


@task
def echo(value: Any) -> Any:
    return value


@task
def where() -> int:
    return os.getpid()


@task
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task
def resources() -> dict[str, float]:
    return dict(ray.get_runtime_context().get_assigned_resources())


@task
def make(size: int) -> Any:
    import numpy

    return numpy.arange(size)


def test_own_instance_is_announced_and_gone_at_the_end(no_ray: None, lines: Any) -> None:
    """Without an address the run starts a Ray, says so, and leaves no process of it behind."""

    @flow(task_runner=RayTaskRunner(init_kwargs={**SMALL_RAY, "include_dashboard": True}))
    def body() -> str:
        assert where.submit().result() != os.getpid() == where()
        name: str = ray._private.worker.global_worker.node.session_name
        return name

    session = body()
    seen = [line for line in lines() if "task_runner.ray" in line]

    assert not ray.is_initialized()
    assert seen[:2] == [
        "flowcluster.task_runner.ray - Creating a local Ray instance",
        "flowcluster.task_runner.ray - Using Ray cluster with 1 nodes.",
    ]
    assert seen[2].startswith("flowcluster.task_runner.ray - The Ray UI is available at 127.0.0.1:")
    wait_until(lambda: not commands_with(session), "the processes have ended", 10)


def commands_with(text: str) -> list[str]:
    """Command lines of living processes that contain `text`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_text().replace("\0", " "))
        except OSError:
            continue  # it ended while we looked
    return [command for command in found if text in command]


def test_ray_of_the_process_is_left_alone(own_ray: None) -> None:
    """A Ray that the process is connected to is used by flows and subflows, and is as it was after them."""
    job = ray.get_runtime_context().get_job_id()

    @flow(task_runner=RayTaskRunner)
    def inner() -> Any:
        return echo.submit(1)

    @flow(task_runner=RayTaskRunner)
    def outer() -> Any:
        return [inner(), echo.submit(2)]

    assert outer() == [1, 2]
    assert ray.is_initialized()
    assert ray.get_runtime_context().get_job_id() == job


def test_flows_of_one_process_share_their_connection(no_ray: None, ray_head: RayHead, lines: Any) -> None:
    """Flows inside of each other and in other threads use one connection, which ends with the last of them."""
    runner, others, results = RayTaskRunner(address=ray_head.address), [], []

    @flow(task_runner=runner)
    def inner() -> Any:
        return echo.submit(1)

    @flow(task_runner=runner)
    def outer() -> Any:
        others.append(threading.Thread(target=lambda: results.append(inner())))
        others[0].start()
        return [inner(), echo.submit(2)]

    assert outer() == [1, 2]
    others[0].join()
    assert results == [1]
    assert not ray.is_initialized()
    assert sum("Connecting to Ray at" in line for line in lines()) == 1


def test_nobody_at_the_address(no_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that does not answer in time ends the flow with what to check."""
    monkeypatch.setenv("FLOWCLUSTER_CLUSTER_TIMEOUT", "0.2")

    @flow(task_runner=RayTaskRunner(address="ray://127.0.0.1:9"))
    def body() -> None:
        raise AssertionError("started")

    state = body(return_state=True)

    assert state.is_crashed()
    with pytest.raises(ClusterUnreachable, match=r"Nothing answered at ray://127\.0\.0\.1:9 within 0\.2 s.*Ray head"):
        state.result()


@pytest.mark.parametrize("address", ["http://head:8265", "ray://", "ray://head:x"])
def test_wrong_address_is_refused_at_once(address: str) -> None:
    """What cannot be a head's address is told where it is written."""
    with pytest.raises(ValueError, match="no address of a Ray head"):
        RayTaskRunner(address=address)


def test_remote_options_nest_and_merge(own_ray: None) -> None:
    """Blocks add to each other, the inner one wins, and delayed tasks keep the options they were submitted with."""

    @flow(task_runner=RayTaskRunner)
    def body() -> Any:
        first = echo.submit(1)
        with remote_options(num_cpus=2, resources={"bench": 1}):
            with remote_options(num_cpus=0.5, resources={"desk": 1}):
                inner = [resources.submit(), resources.submit(wait_for=[first])]
            outer = resources.submit()
        return [*inner, outer, resources.submit()]

    inner, delayed, outer, without = body()

    assert inner == delayed == {"CPU": 0.5, "bench": 1.0, "desk": 1.0}
    assert outer == {"CPU": 2.0, "bench": 1.0}
    assert without == {"CPU": 1.0}


def test_remote_options_refuse_what_is_the_runners_business() -> None:
    """How many results a run has is not to be chosen."""
    with pytest.raises(ValueError, match="cannot set num_returns"), remote_options(num_returns=3):
        pass


def test_resources_of_a_task_are_requests_to_ray() -> None:
    """CPU, GPU and memory are Ray's own options, others are custom resources; a block's options come first."""

    class Spec:
        resources = {"CPU": 2, "GPU": 1, "memory": 100, "bench": 1}  # noqa: RUF012

    with remote_options(num_cpus=3, max_retries=2):
        options = options_for(Spec())  # type: ignore[arg-type]

    assert options == {"num_cpus": 3, "num_gpus": 1, "memory": 100, "resources": {"bench": 1}}
    assert demand_of(options) == {"CPU": 3.0, "GPU": 1.0, "memory": 100.0, "bench": 1.0}
    assert demand_of({"num_cpus": 0}) == {}


def test_request_that_no_node_can_meet_is_told_at_once(own_ray: None) -> None:
    """It fails its own task with what was asked for and what there is; nothing waits for ever."""
    # The head tells some time after its start that nobody adds nodes.
    wait_until(lambda: Capacity(is_fixed=False).unmet({"num_gpus": 1}), "the cluster is known not to grow")

    @flow(task_runner=RayTaskRunner)
    def body() -> tuple[str, int]:
        with remote_options(num_gpus=1):
            impossible = echo.submit(1)

        assert impossible.done()
        return repr(impossible.state), echo.submit(2).result()

    state, possible = body()

    assert state.startswith("Failed('No node of the Ray cluster can ever run this task, which asks for 1 CPU, 1 GPU. ")
    assert "No node has more than 0 GPU" in state
    assert possible == 2


def test_fifty_tasks(own_ray: None) -> None:
    """More tasks than CPUs all end."""

    @flow(task_runner=RayTaskRunner)
    def body() -> Any:
        return echo.map(range(50))

    assert body() == list(range(50))


def test_lost_worker_crashes_its_task_only(own_ray: None) -> None:
    """A killed worker is its task's outcome; what needs the result never starts, or gets the exception."""

    @flow(task_runner=RayTaskRunner)
    def body() -> Any:
        dead = die.submit()
        chained = echo.submit(dead)
        allowed = echo.submit([allow_failure(dead)])
        return [repr(dead.wait()), chained.wait().name, repr(allowed.result()[0]), echo.submit("alive").result()]

    dead, chained, allowed, alive = body()

    assert dead.startswith('Crashed("Task run lost its worker: ')
    assert chained == "NotReady"
    assert "WorkerCrashedError" in allowed
    assert alive == "alive"


def test_nothing_runs_twice(own_ray: None, tmp_path: Path) -> None:
    """A task that kills its worker is not repeated by Ray."""

    @task
    def count_and_die(directory: str) -> None:
        Path(directory, str(len(os.listdir(directory)))).touch()
        os.kill(os.getpid(), signal.SIGKILL)

    @flow(task_runner=RayTaskRunner)
    def body() -> None:
        assert count_and_die.submit(str(tmp_path)).wait().is_crashed()

    body(return_state=True)

    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_sent_fails_its_task_and_is_named(own_ray: None) -> None:
    """An argument by its name and type, a result by its type; the flow goes on."""

    @task
    def lock() -> Any:
        return [threading.Lock()]

    @flow(task_runner=RayTaskRunner)
    def body() -> list[str]:
        argument, result = echo.submit([threading.Lock()]), lock.submit()
        assert argument.wait().is_crashed()
        assert result.wait().is_failed()
        return [argument.state.message, result.state.message, echo.submit("fine").result()]

    argument, result, fine = body()

    assert "Argument 'value', of type list, cannot be sent to a worker: TypeError: cannot pickle" in argument
    assert "The result, of type list, cannot be sent: TypeError: cannot pickle" in result
    assert fine == "fine"


def test_code_that_a_worker_cannot_load_fails_that_task(own_ray: None) -> None:
    """A module that the workers lack is named in the state of the task run."""

    class Unloadable:
        def __reduce__(self) -> Any:
            return __import__, ("no_such_module_on_workers",)

    @flow(task_runner=RayTaskRunner)
    def body() -> str:
        return f"{echo.submit(Unloadable()).wait()}"

    assert "could not be loaded on the worker: ModuleNotFoundError: No module named 'no_such_module" in body()


def test_exception_that_the_driver_cannot_read_keeps_its_text(own_ray: None) -> None:
    """An exception that cannot be pickled arrives as its text, with its traceback."""

    @task
    def raise_locked() -> None:
        error = ValueError("locked")
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error

    @flow(task_runner=RayTaskRunner)
    def body() -> Any:
        error = raise_locked.submit().result(raise_on_failure=False)
        return str(error), "raise error" in str(error.__cause__)

    assert body() == ("ValueError: locked", True)


def references() -> set[str]:
    """Objects that this process keeps in Ray."""
    counts = ray._private.worker.global_worker.core_worker.get_all_reference_counts()
    return {key.decode() for key in counts}


def test_large_results_stay_on_the_cluster(own_ray: None) -> None:
    """A large result that goes from task to task never comes to the driver, and is freed with its future."""

    @task
    def total(values: Any) -> int:
        return int(values.sum())

    @flow(task_runner=RayTaskRunner)
    def body() -> int:
        made = make.submit(100_000)
        result = total.submit(made).result()

        assert not made.state.data.is_here
        assert made.result()[-1] == 99_999

        reference = made.handle.value.binary().hex()
        assert reference in references()
        del made
        gc.collect()
        wait_until(lambda: reference not in references(), "Ray may forget the result")
        return result

    assert body() == 4_999_950_000


def test_result_that_was_not_fetched_goes_with_the_run(own_ray: None) -> None:
    """After the run its futures still tell the state, and say what to do for the result."""
    kept: list[Any] = []

    @flow(task_runner=RayTaskRunner)
    def body() -> Any:
        kept.extend([echo.submit(1), make.submit(100_000)])
        return kept[0]

    body()

    assert kept[0].result() == 1
    assert kept[1].state.is_completed()
    with pytest.raises(ResultGone, match="return the future from the flow"):
        kept[1].result()


def test_lines_of_a_long_task_come_while_it_runs(own_ray: None, lines: Any, gate: Any, wait: Any) -> None:
    """A line is shown soon although its task goes on; all lines come in order, before the task's end."""

    @task
    def speak(path: str) -> None:
        get_run_logger().info("one")
        wait(path)
        get_run_logger().info("two")

    @flow(task_runner=RayTaskRunner)
    def body() -> str:
        future = speak.submit(gate.path)
        wait_until(lambda: any(line.endswith(" - one") for line in lines()), "the first line is here")
        gate.open()
        return future.name

    body()
    of_task = [line.split(" - ", 1)[1] for line in lines() if line.startswith("Task run")]

    assert of_task == ["one", "two", "Finished in state Completed()"]


def test_cancelled_task_stops(own_ray: None, gate: Any, tmp_path: Path) -> None:
    """A run that is to be cancelled is interrupted on its worker."""
    ended = tmp_path / "ended"

    @task
    def spin(path: str, told: str) -> None:
        try:
            with open(path):
                pass
            while True:
                pass
        finally:
            Path(told).touch()

    @flow(task_runner=RayTaskRunner)
    def body() -> None:
        future = spin.submit(gate.path, str(ended))
        gate.open()
        run = flow_run()
        assert run is not None
        run.runner.cancel(future.handle)  # type: ignore[attr-defined]
        future.wait()

    body(return_state=True)

    assert ended.exists()


def test_tasks_that_wait_for_others_leave_them_their_cpus(own_ray: None) -> None:
    """Tasks on workers that wait for what they submitted do not keep the CPUs that it needs."""

    @flow(task_runner=RayTaskRunner)
    def below(depth: int) -> Any:
        with remote_options(num_cpus=2):
            return descend.submit(depth)

    @task
    def descend(depth: int) -> int:
        return 1 + below(depth - 1) if depth else 0

    assert below(5) == 5


def test_ray_says_little(own_ray: None, caplog: pytest.LogCaptureFixture) -> None:
    """Ray's own logger tells nothing of a flow that goes well."""

    @flow(task_runner=RayTaskRunner)
    def body() -> Any:
        return echo.submit(1)

    caplog.set_level(logging.INFO)
    body()

    assert [record.getMessage() for record in caplog.records if record.name.startswith("ray")] == []
