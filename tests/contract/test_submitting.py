"""What ``.submit`` and direct calls promise, on every task runner."""

from __future__ import annotations

import contextvars
import dataclasses
from collections import namedtuple
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flowcluster import allow_failure, flow, task
from flowcluster.errors import NoFlowRunError
from flowcluster.futures import TaskFuture
from flowcluster.task_runners import TaskRunner
from tests.support.meeting import Desk, note
from tests.support.tasks import echo
from tests.support.waiting import wait_until

Point = namedtuple("Point", "x y")


@dataclasses.dataclass(frozen=True)
class Order:
    """A dataclass with a future as a field."""

    item: Any
    checked: bool = dataclasses.field(default=False, init=False)


@task
def add(one: int, other: int = 10) -> int:
    return one + other


@task
def leave(address: str, text: str) -> None:
    note(address, text)


def run(runner: TaskRunner, function: Callable[[], Any]) -> Any:
    return flow(task_runner=runner)(function)()


def test_future_gives_the_value(runner: TaskRunner) -> None:
    """`submit` gives a future whose result is what the function returned."""

    def body() -> None:
        future = add.submit(1, other=2)

        assert type(future) is TaskFuture
        assert future.result() == 3
        assert future.done()

    run(runner, body)


def test_future_as_argument_is_replaced_by_its_value(runner: TaskRunner) -> None:
    """A downstream task receives what the upstream task returned, not a future."""

    def body() -> Any:
        return add.submit(add.submit(1), other=add.submit(2))

    assert run(runner, body) == 23


def test_futures_inside_collections_are_replaced(runner: TaskRunner) -> None:
    """Lists, tuples, named tuples, sets, dicts and dataclasses are searched at every depth."""

    def body() -> Any:
        one = echo.submit(1)
        value: dict[str, Any] = {
            "list": [one, (one, {one: "key"})],
            "set": {one},
            "point": Point(one, 2),
            "order": Order([one]),
        }
        value["list"][1][1].clear()
        return echo.submit(value).result()

    seen = run(runner, body)

    assert seen["list"] == [1, (1, {})]
    assert seen["set"] == {1}
    assert seen["point"] == Point(1, 2)
    assert seen["order"] == Order([1])


def test_arguments_stay_as_they_are(runner: TaskRunner) -> None:
    """Futures are replaced in copies: the caller's list still contains the future."""

    def body() -> None:
        future = echo.submit(1)
        value = [future, [future]]
        echo.submit(value).result()

        assert value == [future, [future]]

    run(runner, body)


def test_direct_call_runs_in_order_in_the_flows_process(runner: TaskRunner) -> None:
    """A task that is called, not submitted, runs immediately in the flow's process, on every runner."""
    seen: list[int] = []

    @task
    def note(number: int) -> int:
        seen.append(number)
        return number

    def body() -> Any:
        return [note(number) for number in range(5)]

    assert run(runner, body) == seen == [0, 1, 2, 3, 4]


def test_direct_call_resolves_futures(runner: TaskRunner) -> None:
    """A directly called task waits for the futures among its arguments."""

    def body() -> Any:
        return add(echo.submit(1), other=[echo.submit(2)][0])

    assert run(runner, body) == 3


def test_task_outside_of_a_flow_is_a_function() -> None:
    """Outside of a flow, a call of a task calls its function, and `submit` raises an error."""
    assert add(1, 2) == 3

    with pytest.raises(NoFlowRunError, match=r"add\.submit\(\) works only in a flow"):
        add.submit(1)


def test_thread_of_a_flow_can_submit_only_in_the_context_of_the_flow(runner: TaskRunner) -> None:
    def body() -> list[Any]:
        with ThreadPoolExecutor(1) as threads:
            without = threads.submit(add.submit, 1)
            known = threads.submit(contextvars.copy_context().run, add.submit, 1)
            return [str(without.exception()), known.result().result()]

    text, result = run(runner, body)

    assert "context.run(function)" in text
    assert result == 11


level: contextvars.ContextVar[int] = contextvars.ContextVar("level", default=0)


@task
def raise_level(number: int) -> int:
    before = level.get()
    level.set(number)
    return before


@task
async def raise_level_later(number: int) -> int:
    return raise_level.fn(number)


@pytest.mark.parametrize("used", [raise_level, raise_level_later])
def test_what_a_task_sets_in_its_context_does_not_reach_other_tasks(runner: TaskRunner, used: Any) -> None:
    def body() -> list[int]:
        return [used.submit(number).result() for number in range(1, 7)]

    assert run(runner, body) == [0] * 6


def test_task_inside_a_task_is_a_function(runner: TaskRunner) -> None:
    """A task that another task calls is a regular function call there, on every runner."""

    @task
    def outer() -> Any:
        return add(1, 1)

    def body() -> Any:
        return outer.submit()

    assert run(runner, body) == 2


@pytest.mark.every_ray
def test_nothing_submitted_is_lost(parallel_runner: TaskRunner, desk: Desk) -> None:
    """A flow that neither waits for its tasks nor returns them still ends after all of them."""

    def body() -> None:
        for number in range(20):
            leave.submit(desk.address, str(number))

    run(parallel_runner, body)

    assert sorted(map(int, desk.notes)) == list(range(20))


def test_wait_for_orders_tasks(parallel_runner: TaskRunner, gate: Any, wait: Any, desk: Desk) -> None:
    """A task starts after those in its `wait_for` have ended, without data from them."""

    @task
    def held(gate: str, desk: str) -> None:
        wait(gate)
        note(desk, "first")

    def body() -> None:
        first = held.submit(gate.address, desk.address)
        leave.submit(desk.address, "second", wait_for=[first])
        gate.open()

    run(parallel_runner, body)

    assert desk.notes == ["first", "second"]


def test_wait_for_takes_a_single_future(runner: TaskRunner) -> None:
    """`wait_for` accepts one future as well as a list."""

    def body() -> Any:
        return echo.submit(2, wait_for=echo.submit(1))

    assert run(runner, body) == 2


def test_wait_with_timeout_returns_none_while_the_task_runs(parallel_runner: TaskRunner, gate: Any, wait: Any) -> None:
    """`wait(timeout)` returns None before the end, and the final state after it. `result(timeout)` raises."""

    @task
    def held(path: str) -> str:
        wait(path)
        return "free"

    def body() -> None:
        future = held.submit(gate.address)

        assert future.wait(0.01) is None
        assert not future.done()
        assert not future.state.is_final()
        with pytest.raises(TimeoutError, match=r"held-\w{8}-0"):
            future.result(timeout=0.01)

        gate.open()
        state = future.wait()

        assert state is future.get_state() is future.state
        assert state.is_completed()
        assert state.result() == "free"

    run(parallel_runner, body)


def test_submitted_tasks_run_at_the_same_time(parallel_runner: TaskRunner, desk: Desk, gate: Any, wait: Any) -> None:
    """Two tasks both start before one of them can end, so neither waits for the other's end."""

    @task
    def held(gate: str, desk: str) -> None:
        note(desk, "begun")
        wait(gate)

    def body() -> None:
        for _ in range(2):
            held.submit(gate.address, desk.address)
        wait_until(lambda: desk.notes == ["begun"] * 2, "both have begun")
        for _ in range(2):
            gate.open()

    run(parallel_runner, body)


def test_run_gets_its_arguments_as_they_were_when_it_was_submitted(parallel_runner: TaskRunner) -> None:
    """A later change of a list or dict with futures does not reach a run that waits for them."""

    @task
    def count(value: Any) -> int:
        return len(value[0]) if isinstance(value, list) else len(value["inner"])

    def body() -> Any:
        first = echo.submit(0)
        items, named, order = [first], {"0": first}, [first]
        for number in range(1, 4):
            items.append(count.submit([items, allow_failure(items)], wait_for=order))
            named[str(number)] = count.submit({"inner": named})
            order.append(items[-1])
        return [*items, *named.values()]

    assert run(parallel_runner, body) == [0, 1, 2, 3, 0, 1, 2, 3]
