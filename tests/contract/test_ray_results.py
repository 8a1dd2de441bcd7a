"""What is sent between Ray and the driver: arguments, code, results, exceptions."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest
import ray

from flowcluster import flow, task
from flowcluster.errors import ResultGone
from flowcluster.task_runners import RayTaskRunner
from tests.support.tasks import echo
from tests.support.waiting import wait_until


@task
def make(size: int) -> Any:
    import numpy

    return numpy.arange(size)


def test_value_that_cannot_be_sent_fails_its_task_and_is_named(own_ray: None) -> None:
    """The state has the name and type of an argument, and the type of a result. The flow continues."""

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


def test_tasks_take_and_return_references_and_actors_of_ray(own_ray: None) -> None:
    """Each can be used in the task, also inside a container and as the result of another task."""

    class Counter:
        def __init__(self) -> None:
            self.number = 0

        def increment(self) -> int:
            self.number += 1
            return self.number

    @task
    def fetch(references: Any) -> Any:
        return ray.get(references, timeout=60)

    @task
    def put(value: Any) -> Any:
        return [ray.put(value)]

    @task
    def count(counter: Any) -> Any:
        return ray.get(counter.increment.remote(), timeout=60)

    @flow(task_runner=RayTaskRunner)
    def body() -> list[Any]:
        counter: Any = ray.remote(num_cpus=0)(Counter).remote()
        of_flow = [fetch.submit(ray.put("a")).result(), fetch.submit([ray.put("b")]).result()]
        of_tasks = [fetch.submit(put.submit("c")).result(), ray.get(put.submit("d").result(), timeout=60)]
        counts = [count.submit(counter).result(), count.submit(counter).result()]
        return [of_flow, of_tasks, counts]

    assert body() == [["a", ["b"]], [["c"], ["d"]], [1, 2]]


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
        assert error is not None
        return str(error), "raise error" in str(error.__cause__)

    assert body() == ("ValueError: locked", True)


def references() -> set[str]:
    """Return the objects that this process keeps in Ray."""
    counts = ray._private.worker.global_worker.core_worker.get_all_reference_counts()
    return {key.decode() for key in counts}


def test_large_results_stay_on_the_cluster(own_ray: None) -> None:
    """A large result that only other tasks use is never sent to the driver, and is released with its future."""

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


def test_result_is_gone_after_the_run_when_it_was_not_fetched(own_ray: None) -> None:
    """After the run its futures still have the state. The error of `result` names what to do."""
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
