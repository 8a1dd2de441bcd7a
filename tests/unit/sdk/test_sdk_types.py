"""The types that a type checker sees.

mypy checks each `assert_type`, and reports each ignore that is not needed any more. pytest checks that the values have
these types. Parameters are positional where the type of a task or a flow is stated: `Task[[int], int]` has no names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, assert_type

import pytest

from flowcluster import Flow, Task, allow_failure, flow, opaque, quote, task, unmapped
from flowcluster.errors import ParameterError
from flowcluster.futures import AsyncTaskFuture, DoneAndNotDone, FutureList, TaskFuture, as_completed, wait
from flowcluster.states import State
from flowcluster.task_runners import ConcurrentTaskRunner, SequentialTaskRunner, TaskRunner


@task
def double(number: int, /) -> int:
    return 2 * number


@task(retries=1, name="shown")
def show(number: int, prefix: str = "") -> str:
    return f"{prefix}{number}"


@task
async def halve(number: int, /) -> float:
    return number / 2


@task(tags=["async"])
async def spell(number: int) -> str:
    return str(number)


@task
def untyped(value):  # type: ignore[no-untyped-def]
    return value


@task
async def untyped_async(value):  # type: ignore[no-untyped-def]
    return value


@task
def fail(number: int) -> int:
    raise ValueError(number)


class Scale:
    """A class whose methods are tasks."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    @task
    def apply(self, number: int, /) -> int:
        return self.factor * number


def in_flow(body: Callable[[], None]) -> None:
    """Run `body` as a flow."""
    flow(task_runner=SequentialTaskRunner)(body)()


def in_async_flow(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `body` as an async flow."""
    asyncio.run(flow(task_runner=ConcurrentTaskRunner)(body)())


class TestTasks:
    """`@task`, calls of tasks, and tasks as methods."""

    def test_decorator_keeps_parameters_and_result(self) -> None:
        assert_type(double, Task[[int], int])
        assert_type(halve, Task[[int], Coroutine[Any, Any, float]])
        assert_type(double.fn(2), int)
        assert_type(double.name, str)

        assert isinstance(double, Task)
        assert isinstance(show, Task)
        assert double.fn(2) == 4

    def test_options_keep_parameters_and_result(self) -> None:
        def negate(number: int) -> int:
            return -number

        renamed = assert_type(double.with_options(name="renamed"), Task[[int], int])
        decorated = task(retries=2)(negate)

        assert assert_type(renamed(2), int) == 4
        assert assert_type(show(2, prefix="x"), str) == "x2"
        assert assert_type(decorated(2), int) == -2
        with pytest.raises(TypeError, match="colour"):
            double.with_options(colour="red")  # type: ignore[call-arg]

    def test_call_returns_the_result(self) -> None:
        def body() -> None:
            assert assert_type(double(2), int) == 4
            assert assert_type(double(2, wait_for=[double.submit(1)]), int) == 4
            assert assert_type(double(2, wait_for=double.submit(1)), int) == 4
            assert assert_type(double(double.submit(1)), int) == 4
            assert assert_type(show(allow_failure(double.submit(1)), "x"), str) == "x2"
            assert assert_type(untyped(2), Any) == 2

        in_flow(body)

    def test_call_checks_the_arguments(self) -> None:
        with pytest.raises(TypeError, match="missing"):
            double()  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="unexpected"):
            double(2, factor=3)  # type: ignore[call-overload]
        assert double("x") == "xx"  # type: ignore[call-overload]

    def test_call_with_return_state_returns_a_state(self) -> None:
        def body() -> None:
            state = assert_type(double(2, return_state=True), State[int])
            assert assert_type(state.result(), int) == 4
            assert assert_type(untyped(2, return_state=True), State).result() == 2

        in_flow(body)

    def test_call_of_an_async_task_returns_a_coroutine(self) -> None:
        async def body() -> None:
            assert assert_type(await halve(3), float) == 1.5
            assert assert_type(await spell(3, wait_for=[halve.submit(1)]), str) == "3"
            assert assert_type(await untyped_async(3), Any) == 3
            state = assert_type(await halve(3, return_state=True), State[float])
            assert assert_type(state.result(), float) == 1.5

        in_async_flow(body)

    def test_task_of_a_class_is_a_method(self) -> None:
        scale = Scale(3)
        assert_type(scale.apply, Task[[int], int])

        def body() -> None:
            assert assert_type(scale.apply(2), int) == 6
            assert assert_type(scale.apply.submit(2).result(), int) == 6
            assert assert_type(Scale.apply(scale, 2), int) == 6

        in_flow(body)


class TestSubmissions:
    """`.submit` and `.map`."""

    def test_submit_returns_the_future_of_the_result(self) -> None:
        def body() -> None:
            future = assert_type(double.submit(2), TaskFuture[int])
            assert isinstance(future, TaskFuture)
            assert assert_type(show.submit(future, wait_for=[future]), TaskFuture[str]).result() == "4"
            assert assert_type(show.submit(1, wait_for=future), TaskFuture[str]).result() == "1"
            assert assert_type(double.with_options(tags=["x"]).submit(2), TaskFuture[int]).result() == 4

        in_flow(body)

    def test_submit_of_an_untyped_task_returns_a_future_that_blocks(self) -> None:
        def body() -> None:
            future = assert_type(untyped.submit(2), TaskFuture[Any])
            assert isinstance(future, TaskFuture)
            assert isinstance(assert_type(untyped.map([2]), FutureList[TaskFuture[Any]])[0], TaskFuture)

        in_flow(body)

    def test_submit_of_an_async_task_returns_a_future_that_is_awaited(self) -> None:
        async def body() -> None:
            future = assert_type(halve.submit(3), AsyncTaskFuture[float])
            assert isinstance(future, AsyncTaskFuture)
            assert assert_type(await future, AsyncTaskFuture[float]) is future
            assert isinstance(assert_type(untyped_async.submit(3), AsyncTaskFuture[Any]), AsyncTaskFuture)
            assert isinstance(assert_type(double.submit(3), TaskFuture[int]), TaskFuture)

        in_async_flow(body)

    def test_map_returns_the_futures_of_the_results(self) -> None:
        def body() -> None:
            futures = assert_type(double.map([1, 2]), FutureList[TaskFuture[int]])
            assert isinstance(futures, FutureList)
            assert assert_type(futures[0], TaskFuture[int]).result() == 2
            assert assert_type(futures.result(), list[int]) == [2, 4]
            assert assert_type(show.map(futures, unmapped("x")).result(), list[str]) == ["x2", "x4"]

        in_flow(body)

    def test_map_of_an_async_task_returns_futures_that_are_awaited(self) -> None:
        async def body() -> None:
            futures = assert_type(await halve.map([1, 2]), FutureList[AsyncTaskFuture[float]])
            assert assert_type(await futures[0].result(), float) == 0.5
            assert assert_type(futures.result(), list[float]) == [0.5, 1.0]

        in_async_flow(body)

    def test_marks_have_the_type_of_their_value(self) -> None:
        def body() -> None:
            future = double.submit(1)
            assert assert_type(allow_failure(future), allow_failure[TaskFuture[int]]).value is future
            assert assert_type(unmapped("x").value, str) == "x"
            assert assert_type(quote([future]).value, list[TaskFuture[int]]) == [future]
            assert assert_type(opaque([1]).value, list[int]) == [1]

        in_flow(body)


class TestFutures:
    """Methods of futures, and functions of several futures."""

    def test_state_has_the_type_of_the_result(self) -> None:
        def body() -> None:
            future = double.submit(2)
            assert assert_type(future.state, State[int]).is_completed()
            assert assert_type(future.get_state(), State[int]).is_completed()
            assert assert_type(future.state.result(), int) == 4

        in_flow(body)

    def test_wait_returns_none_only_with_a_timeout(self) -> None:
        def body() -> None:
            future = double.submit(2)
            assert assert_type(future.wait(), State[int]).is_completed()
            state = assert_type(future.wait(60), State[int] | None)
            assert state is not None
            assert state.is_completed()
            assert assert_type(TaskFuture[int]("never-0").wait(0), State[int] | None) is None

        in_flow(body)

    def test_result_is_an_exception_only_without_raising(self) -> None:
        def body() -> None:
            future = fail.submit(2)
            assert isinstance(assert_type(future.result(raise_on_failure=False), int | BaseException), ValueError)
            assert isinstance(assert_type(future.result(60, False), int | BaseException), ValueError)
            assert isinstance(assert_type(future.state.result(False), int | BaseException), ValueError)
            assert assert_type(double.submit(2).result(60, raise_on_failure=True), int) == 4
            mixed = FutureList([double.submit(1), future])
            shown = assert_type(mixed.result(raise_on_failure=False), list[int | BaseException])
            assert (shown[0], type(shown[1])) == (2, ValueError)

        state = flow(task_runner=SequentialTaskRunner)(body)(return_state=True)
        assert state.message == "1/3 states failed."

    def test_methods_of_async_futures_are_awaited(self) -> None:
        async def body() -> None:
            future = halve.submit(3)
            assert assert_type(await future.wait(), State[float]).is_completed()
            assert assert_type(await future.wait(60), State[float] | None) is not None
            assert assert_type(await future.result(), float) == 1.5
            assert assert_type(await future.result(raise_on_failure=False), float | BaseException) == 1.5
            assert assert_type(await future.result(60, False), float | BaseException) == 1.5
            assert assert_type(await future.get_state(), State[float]).is_completed()
            assert assert_type(future.state, State[float]).is_completed()

        in_async_flow(body)

    def test_waiting_for_several_futures_keeps_their_type(self) -> None:
        def body() -> None:
            futures = double.map([1, 2])
            ended = assert_type(wait(futures), DoneAndNotDone[TaskFuture[int]])
            assert assert_type(ended.done, list[TaskFuture[int]]) == futures
            assert assert_type(futures.wait(60).not_done, list[TaskFuture[int]]) == []
            for future in as_completed(futures):
                assert assert_type(future, TaskFuture[int]) in futures

        in_flow(body)


@flow
def total(numbers: list[int], /) -> int:
    return sum(double.map(numbers).result())


@flow(task_runner=SequentialTaskRunner, name="other")
def one_future(number: int) -> TaskFuture[int]:
    return double.submit(number)


@flow(task_runner=SequentialTaskRunner())
def futures_in_a_list(number: int) -> list[TaskFuture[int]]:
    return [double.submit(number)]


@flow
def mapped(numbers: list[int]) -> FutureList[TaskFuture[int]]:
    return double.map(numbers)


@flow
async def async_total(numbers: list[int], /) -> float:
    return sum([await future.result() for future in halve.map(numbers)])


@flow
async def async_future(number: int) -> AsyncTaskFuture[float]:
    return halve.submit(number)


@flow
async def async_mapped(numbers: list[int]) -> FutureList[TaskFuture[int]]:
    return double.map(numbers)


@flow
def unknown(value: int) -> Any:
    return value


class TestFlows:
    """`@flow`, and calls of flows."""

    def test_decorator_keeps_parameters_and_result(self) -> None:
        assert_type(total, Flow[[list[int]], int])
        assert_type(async_total, Flow[[list[int]], Coroutine[Any, Any, float]])
        assert_type(total.task_runner, TaskRunner)
        renamed = assert_type(total.with_options(name="renamed"), Flow[[list[int]], int])

        assert isinstance(total, Flow)
        assert assert_type(total.fn, Callable[[list[int]], int]) is total.spec.function
        assert assert_type(renamed([1]), int) == 2

    def test_task_runner_is_an_instance_or_a_type(self) -> None:
        def body() -> int:
            return 1

        assert assert_type(flow(task_runner=SequentialTaskRunner)(body)(), int) == 1
        assert assert_type(flow(task_runner=SequentialTaskRunner())(body)(), int) == 1
        assert assert_type(flow(task_runner=None)(body)(), int) == 1
        with pytest.raises(TypeError, match="task_runner"):
            flow(task_runner="dask")(body)  # type: ignore[call-overload]
        with pytest.raises(TypeError):
            ConcurrentTaskRunner(max_workers="many")  # type: ignore[arg-type]

    def test_call_returns_results_instead_of_futures(self) -> None:
        assert assert_type(total([1, 2]), int) == 6
        assert assert_type(one_future(1), int) == 2
        assert assert_type(futures_in_a_list(1), list[int]) == [2]
        assert assert_type(mapped([1, 2]), list[int]) == [2, 4]
        assert assert_type(unknown(1), Any) == 1

    def test_call_of_an_async_flow_returns_a_coroutine(self) -> None:
        async def body() -> None:
            assert assert_type(await async_total([1, 2]), float) == 1.5
            assert assert_type(await async_future(1), float) == 0.5
            assert assert_type(await async_mapped([1]), list[int]) == [2]

        asyncio.run(body())

    def test_call_checks_the_parameters(self) -> None:
        with pytest.raises(ParameterError):
            total()  # type: ignore[call-overload]
        with pytest.raises(ParameterError):
            unknown("x")  # type: ignore[call-overload]

    def test_call_with_return_state_returns_a_state(self) -> None:
        state = assert_type(total([1], return_state=True), State[int])

        assert assert_type(state.result(), int) == 2
        assert assert_type(unknown(1, return_state=True), State).result() == 1
        assert assert_type(mapped([1], return_state=True), State).result() == [2]
        assert assert_type(asyncio.run(async_total([1], return_state=True)), State[float]).result() == 0.5
        assert assert_type(asyncio.run(async_future(1, return_state=True)), State).result() == 0.5

    def test_subflow_takes_futures(self) -> None:
        def body() -> None:
            future = double.submit(1)
            assert assert_type(total([1], wait_for=[future]), int) == 2
            assert assert_type(one_future(future), Any) == 4
            assert assert_type(one_future(1, wait_for=future), Any) == 2

        in_flow(body)
