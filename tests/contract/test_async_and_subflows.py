"""Sync and async flows and tasks in all combinations, and flows inside flows."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from flowcluster import flow, task
from flowcluster.engine.run_loop import run_async
from flowcluster.errors import UpstreamFailed
from flowcluster.futures import AsyncTaskFuture, TaskFuture
from flowcluster.task_runners import ConcurrentTaskRunner, SequentialTaskRunner, TaskRunner
from tests.support.meeting import Desk, note


@task
def add(one: int, other: int = 1) -> int:
    return one + other


@task
async def async_add(one: int, other: int = 1) -> int:
    await asyncio.sleep(0)
    return one + other


@task
async def async_fail() -> None:
    raise ValueError("async boom")


def test_sync_flow_runs_sync_and_async_tasks(runner: TaskRunner) -> None:
    """In a sync flow, async tasks are called and submitted like sync ones."""

    @flow(task_runner=runner)
    def body() -> Any:
        future: Any = async_add.submit(add.submit(1))  # in a sync flow, it is not an `AsyncTaskFuture`

        assert isinstance(future, TaskFuture)
        return [add(future), async_add(future), async_add.submit(future)]

    assert body() == [4, 4, 4]


def test_async_flow_runs_sync_and_async_tasks(runner: TaskRunner) -> None:
    """In an async flow, futures of async tasks are awaited, those of sync tasks are not."""

    @flow(task_runner=runner)
    async def body() -> Any:
        sync_future = add.submit(1)
        future = async_add.submit(sync_future)
        same = await async_add.submit(1)

        assert isinstance(sync_future, TaskFuture)
        assert isinstance(future, AsyncTaskFuture)
        assert isinstance(same, AsyncTaskFuture)
        assert sync_future.result() == 2
        assert (await future.wait()).is_completed()
        assert (await future.get_state()).is_completed()
        return [await future.result(), await async_add(future), add(3), same]

    assert asyncio.run(body()) == [3, 4, 4, 2]


def test_async_flow_waits_for_its_submitted_tasks(parallel_runner: TaskRunner, desk: Desk) -> None:
    """The flow ends after the tasks that it neither awaits nor returns."""

    @task
    async def leave(address: str, text: str) -> None:
        note(address, text)

    @flow(task_runner=parallel_runner)
    async def body() -> None:
        leave.map(desk.address, [str(number) for number in range(10)])

    state = asyncio.run(body(return_state=True))

    assert repr(state) == "Completed('All states completed.')"
    assert sorted(desk.notes) == [str(number) for number in range(10)]


def test_blocking_async_flow_does_not_block_its_tasks(runner: TaskRunner) -> None:
    """A flow that blocks its event loop for a result still gets it: tasks have a loop of their own."""

    @flow(task_runner=runner)
    async def body() -> int:
        return add.submit(async_add.submit(1)).result()

    assert asyncio.run(body()) == 3


def test_failed_async_task_raises_in_sync_and_async_flows(runner: TaskRunner) -> None:
    """The exception of an async task reaches sync and async flows alike."""

    @flow(task_runner=runner)
    def sync_body() -> None:
        async_fail.submit().result()  # type: ignore[unused-coroutine]  # blocks in a sync flow

    @flow(task_runner=runner)
    async def async_body() -> None:
        with pytest.raises(ValueError, match="async boom"):
            await async_fail()
        await async_fail.submit().result()

    with pytest.raises(ValueError, match="async boom"):
        sync_body()
    with pytest.raises(ValueError, match="async boom"):
        asyncio.run(async_body())


def test_async_task_outside_of_a_flow_is_a_coroutine_function() -> None:
    """Without a flow, a call of an async task returns a coroutine, as its function does."""
    coroutine = async_add(1)

    assert inspect.iscoroutine(coroutine)
    assert asyncio.run(coroutine) == 2


def test_cancelled_call_of_a_task_does_not_block_its_flow() -> None:
    """A call that the flow cancels, while it runs or waits for an upstream task, ends as cancelled."""

    @task
    async def held(event: Any) -> int:
        await event.wait()
        return 1

    @task
    async def release(event: Any) -> None:
        event.set()

    @flow
    async def body() -> str:
        event = asyncio.Event()
        upstream = held.submit(event)
        for call in (held(asyncio.Event()), async_add(upstream)):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(call, 0.01)
        release.submit(event)
        return "went on"

    run = asyncio.run(run_async(body.spec, (), {}))

    assert run.state.result() == "went on"
    assert (run.tally.completed, run.tally.cancelled) == (2, 2)


def test_async_tasks_run_at_the_same_time() -> None:
    """Two coroutines that need each other both end."""

    @task
    async def signal(event: Any) -> None:
        event.set()

    @task
    async def wait(event: Any) -> str:
        await event.wait()
        return "met"

    @flow
    def body() -> Any:
        event = asyncio.Event()
        waiting = wait.submit(event)
        signal.submit(event)
        return waiting

    assert body() == "met"


def test_subflow_has_its_own_runner_and_blocks_its_parent(runner: TaskRunner) -> None:
    """A subflow without a runner uses the default one, not its parent's, and ends before its parent continues."""
    seen = []

    @task
    def note(text: str) -> str:
        return text

    @flow
    def child(text: str) -> Any:
        from flowcluster.context import flow_run

        seen.append(flow_run().runner.name)  # type: ignore[union-attr]
        return note.submit(text)

    @flow(task_runner=runner)
    def parent() -> Any:
        first = child("a")
        seen.append("parent continues")
        return first + child("b") + note.submit("c").result()

    assert parent() == "abc"
    assert seen == ["ConcurrentTaskRunner", "parent continues", "ConcurrentTaskRunner"]


def test_subflow_takes_futures_of_its_parent(runner: TaskRunner) -> None:
    """A subflow's parameters can be futures: it receives their values, converted like others."""

    @flow(task_runner=SequentialTaskRunner)
    def child(number: int, items: list[int]) -> TaskFuture[int]:
        return add.submit(number, items[0])

    @flow(task_runner=runner)
    def parent() -> int:
        result: int = child(add.submit(1), [add.submit(2)])
        return result

    assert parent() == 5


def test_subflow_task_takes_a_future_of_the_parent(runner: TaskRunner) -> None:
    """A future made by the parent's runner is an input for a task on another runner."""
    handed_over: list[TaskFuture[int]] = []

    @flow(task_runner=ConcurrentTaskRunner)
    def child() -> TaskFuture[int]:
        return add.submit(handed_over[0])

    @flow(task_runner=runner)
    def parent() -> int:
        handed_over.append(add.submit(1))
        return child()

    assert parent() == 3


def test_subflow_downstream_of_a_failure_never_starts(runner: TaskRunner) -> None:
    """A subflow does not start with a future that failed."""

    @task
    def fail() -> None:
        raise ValueError

    @flow
    def child(value: Any) -> None:
        raise AssertionError("started")

    @flow(task_runner=runner)
    def parent() -> str:
        with pytest.raises(UpstreamFailed):
            child(fail.submit())
        return child(fail.submit(), return_state=True).name

    assert parent() == "NotReady"


def test_failed_subflow_fails_a_parent_that_returns_nothing() -> None:
    """The final state of a parent that returns nothing includes its subflows."""

    @flow
    def bad() -> None:
        raise ValueError("child")

    @flow
    def parent() -> None:
        add.submit(1)
        bad(return_state=True)

    assert parent(return_state=True).message == "1/2 states failed."


def test_sync_and_async_flows_nest() -> None:
    """A sync flow calls an async one like a function, an async flow awaits it."""

    @flow
    async def inner(number: int) -> int:
        return await async_add(number)

    @flow
    def middle(number: int) -> int:
        called: Any = inner(number)  # in a sync flow, it is not a coroutine
        result: int = called + async_add.submit(0).result()
        return result

    @flow
    async def outer() -> int:
        return middle(1) + await inner(1)

    @flow
    def outermost() -> int:
        return outer()  # type: ignore[return-value]

    assert outermost() == 5
    assert asyncio.run(outer()) == 5


def test_async_subflows_run_at_the_same_time() -> None:
    """`asyncio.gather` over subflows runs them concurrently, each with a flow run of its own."""

    @flow
    async def child(mine: Any, other: Any) -> str:
        from flowcluster.context import flow_run

        mine.set()
        await other.wait()
        return flow_run().name  # type: ignore[union-attr]

    @flow
    async def parent() -> list[str]:
        one, other = asyncio.Event(), asyncio.Event()
        return list(await asyncio.gather(child(one, other), child(other, one)))

    names = asyncio.run(parent())

    assert len(set(names)) == 2


def test_numbers_of_task_runs_continue_in_subflows(lines: Any) -> None:
    """The name of a task run is unique in the whole tree of flow runs."""

    @flow
    def child() -> None:
        add.submit(1)

    @flow
    def parent() -> None:
        add.submit(1)
        child()
        add(1)

    parent()
    created = [line.split("'")[3] for line in lines() if "Created task run" in line]

    assert [name.rsplit("-", 1)[1] for name in created] == ["0", "1", "2"]


def test_subflow_waits_for_the_futures_of_its_wait_for(runner: TaskRunner) -> None:
    """`wait_for` orders subflows as it orders tasks, and a subflow does not start after a failure there."""
    called = []

    @flow
    def child(name: str) -> str:
        called.append(name)
        return name

    @flow(task_runner=runner)
    def parent() -> Any:
        assert child("one", wait_for=[add.submit(1)]) == "one"
        return child("other", wait_for=[async_fail.submit()], return_state=True).name

    assert parent() == "NotReady"
    assert called == ["one"]
