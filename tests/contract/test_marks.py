"""Marks on arguments, and the containers in which futures are found, on every task runner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pydantic

from flowcluster import allow_failure, flow, opaque, quote, task
from flowcluster.futures import TaskFuture
from flowcluster.task_runners import SequentialTaskRunner, TaskRunner
from tests.support.tasks import echo


class Parcel(pydantic.BaseModel):
    """A model with a future inside, and one among its extras."""

    model_config = pydantic.ConfigDict(extra="allow")

    content: Any
    weight: int = 1


@task
def describe(value: Any) -> str:
    return repr(value)


@task
def fail() -> None:
    raise ValueError("boom")


def run(runner: TaskRunner, function: Callable[[], Any]) -> Any:
    return flow(task_runner=runner)(function)()


def test_futures_in_models_are_replaced(runner: TaskRunner) -> None:
    """Fields and extras of a pydantic model are replaced in a copy: the caller's model does not change."""

    def body() -> Any:
        future = echo.submit(3)
        parcel = Parcel(content=[future], note=future)  # type: ignore[call-arg]
        received = echo.submit(parcel).result()
        assert parcel.content == [future]
        return received.model_dump()

    assert run(runner, body) == {"content": [3], "weight": 1, "note": 3}


def test_quoted_values_stay_as_they_are(runner: TaskRunner) -> None:
    """A task gets a quoted state as a state, also that of a failed run."""

    def body() -> Any:
        state = fail.submit().wait()
        return describe.submit(quote([state])).result(), describe.submit(quote(5)).result()

    shown, plain = run(runner, body)
    assert shown.startswith("[Failed(")
    assert plain == "5"


def test_opaque_values_are_not_searched() -> None:
    """A future itself is replaced, one inside a collection is not."""

    @task
    def kinds(one: Any, many: Any) -> list[str]:
        return [type(one).__name__, type(many[0]).__name__]

    def body() -> Any:
        future = echo.submit(3)
        return kinds.submit(opaque(future), opaque([future]))

    assert run(SequentialTaskRunner(), body) == ["int", TaskFuture.__name__]


def test_failures_are_allowed_inside_of_collections_and_maps(runner: TaskRunner) -> None:
    """The task gets each item as a value or an exception."""

    def body() -> Any:
        futures = [echo.submit(1), fail.submit()]
        nested = describe.submit({"a": allow_failure(futures)}).result()
        return nested, [future.result() for future in describe.map(allow_failure(futures))]

    nested, mapped = run(runner, body)
    assert nested == "{'a': [1, ValueError('boom')]}"
    assert mapped == ["1", "ValueError('boom')"]


def test_allowed_failure_in_wait_for_starts_the_task(runner: TaskRunner) -> None:
    """The tasks downstream of it start as well."""

    def body() -> Any:
        after = echo.submit("after", wait_for=[allow_failure(fail.submit())])
        return echo.submit(after)

    assert run(runner, body) == "after"
