"""`.map`, chains of tasks, and failures that later tasks allow."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from flowcluster import allow_failure, flow, task, unmapped
from flowcluster.errors import MapError
from flowcluster.task_runners import TaskRunner
from tests.support.tasks import echo
from tests.support.waiting import wait_until


@task
def add(one: int, other: int = 10) -> int:
    return one + other


@task
def fail(text: str = "boom") -> None:
    raise ValueError(text)


def run(runner: TaskRunner, function: Callable[[], Any]) -> Any:
    return flow(task_runner=runner)(function)()


def test_map_submits_one_run_per_item(runner: TaskRunner) -> None:
    """`map` iterates over lists, generators and futures of lists. Every run gets `unmapped` values and strings."""

    @task
    def join(*parts: Any) -> str:
        return "".join(map(str, parts))

    def body() -> None:
        numbers = echo.submit([1, 2, 3])
        futures = join.map(numbers, (letter for letter in "xyz"), unmapped([0]), "ab")

        assert [future.result() for future in futures] == ["1x[0]ab", "2y[0]ab", "3z[0]ab"]
        assert join.map([]) == []

    run(runner, body)


def test_map_refuses_arguments_of_different_lengths_or_without_an_iterable() -> None:
    """`map` needs an iterable, and iterables of one length."""

    @flow
    def body() -> None:
        with pytest.raises(MapError, match="at least one argument that can be iterated"):
            add.map(1, other=2)
        with pytest.raises(MapError, match="argument 0 has 2, argument 'other' has 3"):
            add.map([1, 2], other=[1, 2, 3])
        with pytest.raises(MapError, match="argument 0 has 3 or more, argument 'other' has 2"):
            add.map(itertools.count(), other=[1, 2])

    body()


def test_map_takes_futures_as_items(runner: TaskRunner) -> None:
    """The futures of one `map` are the items of the next."""

    def body() -> Any:
        return add.map(add.map([1, 2]), other=1)

    assert run(runner, body) == [12, 13]


def test_long_chain_of_tasks_ends(runner: TaskRunner) -> None:
    """Hundreds of tasks that each wait for the one before exceed no recursion limit."""

    def body() -> Any:
        future = add.submit(0, 1)
        for _ in range(150):
            future = add.submit(future, 1)
        return future

    assert run(runner, body) == 151


def test_tasks_that_a_flow_makes_are_released_before_it_ends(runner: TaskRunner) -> None:
    made: list[weakref.ref[Callable[[], int]]] = []

    def one() -> None:
        def function() -> int:
            return 1

        made.append(weakref.ref(function))
        task(function).submit().wait()

    def left() -> int:
        gc.collect()
        return sum(function() is not None for function in made)

    @flow(task_runner=runner)
    def body() -> None:
        for _ in range(5):
            one()
        wait_until(lambda: left() == 0, "none is left")

    body()


def test_long_chain_of_failures_ends(runner: TaskRunner) -> None:
    """A failure at the start of a long chain ends all its runs."""

    def body() -> None:
        future: Any = fail.submit()
        for _ in range(150):
            future = echo.submit(future)
        assert future.wait().name == "NotReady"

    state = flow(task_runner=runner)(body)(return_state=True)

    assert state.message == "1/151 states failed."


def test_allow_failure_gives_the_exception(runner: TaskRunner) -> None:
    """With `allow_failure` a task starts although its upstream failed, and receives the exception."""

    @task
    def kind(value: Any) -> str:
        return type(value).__name__

    def body() -> Any:
        failed = fail.submit()
        later = echo.submit("ran", wait_for=[allow_failure(failed)])
        inside = echo.submit([allow_failure(failed), {"k": allow_failure([failed])}])
        nested = inside.result()

        assert isinstance(nested[0], ValueError)
        assert isinstance(nested[1]["k"][0], ValueError)
        return [kind.submit(allow_failure(failed)).result(), later.result(), kind(allow_failure(failed))]

    assert run(runner, body) == ["ValueError", "ran", "ValueError"]


def test_allow_failure_does_not_start_what_never_ran(runner: TaskRunner) -> None:
    """`allow_failure` allows failed upstream runs, not runs that never started."""

    def body() -> str:
        never = echo.submit(fail.submit())
        return echo.submit(allow_failure(never)).wait().name

    assert run(runner, body) == "NotReady"


def test_with_options_renames_a_copy() -> None:
    """`with_options` does not change the task itself."""
    renamed = add.with_options(name="plus")

    assert (renamed.name, add.name) == ("plus", "add")
    assert renamed(1, 2) == 3
