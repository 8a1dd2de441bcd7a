"""What is sent between a Dask cluster and the driver: code, results, exceptions."""

from __future__ import annotations

import enum
import gc
import os
from typing import Any

import pytest

from flowcluster import flow, get_dask_client, task
from flowcluster.errors import ResultGone
from flowcluster.task_runners import DaskTaskRunner
from tests.support.tasks import echo


def test_results_stay_on_the_cluster_until_they_are_needed(cluster: Any) -> None:
    """A result that only other tasks use is never sent to the driver, and is released with its future."""

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


def test_result_is_gone_after_the_run_when_it_was_not_fetched(cluster: Any) -> None:
    """After the run its futures still have the state. The error of `result` names what to do."""
    kept: list[Any] = []

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> Any:
        # Too large to be sent together with the other result.
        kept.extend([echo.submit(1), echo.submit("x" * 100_000)])
        return kept[0]

    body()

    assert kept[0].result() == 1
    assert kept[1].state.is_completed()
    with pytest.raises(ResultGone, match="return the future from the flow"):
        kept[1].result()


def test_result_that_cannot_be_sent_fails_its_run(cluster: Any) -> None:
    """A result that cannot be pickled fails the run that returned it, and no other run."""

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
    """A function with much data in its closure is sent to the cluster once, not with every run."""
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
    """An exception that cannot be pickled arrives as its text, one with its own constructor with its type."""

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
        odd: Any = raise_odd.submit().result(raise_on_failure=False)
        locked = raise_locked.submit().result(raise_on_failure=False)
        return str(odd), odd.code, type(odd).__name__, str(locked)

    assert body() == ("code 5 at home", 5, "Odd", "ValueError: locked")


@pytest.mark.parametrize("size", [1, 100_000], ids=["small", "large"])
def test_enums_that_workers_cannot_import_are_returned_as_they_are(cluster: Any, size: int) -> None:
    class Mode(enum.Flag):
        R = 1
        W = 2
        RW = 3

    class Planet(enum.Enum):
        EARTH = 5.97
        WORLD = 5.97

        def __init__(self, mass: float) -> None:
            self.weight = mass * 2

    @task
    def make() -> tuple[Any, ...]:
        return Mode.RW, Planet.WORLD, Planet.EARTH.weight, "x" * size

    @flow(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
    def body() -> Any:
        made = make.submit()
        return made.result()[:3], echo.submit(made).result()[:3]

    for mode, planet, weight in body():
        assert mode is Mode.RW
        assert planet is Planet.EARTH
        assert weight == 11.94
