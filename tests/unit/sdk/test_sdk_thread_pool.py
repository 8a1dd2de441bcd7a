"""The pool of threads that executes functions: the numbers of running, waiting and started jobs."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flowcluster import flow, task
from flowcluster._util.waiting import wait_blocking
from flowcluster.runners.threads import Job, ThreadPool
from flowcluster.task_runners import ConcurrentTaskRunner
from tests.support.waiting import wait_until


class Work:
    """A job that executes commands: wait for others, continue, end."""

    def __init__(self) -> None:
        self.orders: SimpleQueue[str] = SimpleQueue()
        self.state = "queued"
        self.wake: Callable[[], None] | None = None

    def __call__(self) -> None:
        self.state = "running"
        while (order := self.orders.get()) == "wait":
            wait_blocking(self.register)
            self.state = "running"
        self.state = "ended"
        if order == "raise":
            raise SystemExit("a job must not raise")

    def register(self, callback: Callable[[], None]) -> None:
        self.wake = callback
        self.state = "waiting"


class Pool(RuleBasedStateMachine):
    """Random commands for jobs, and the least and greatest number of running ones."""

    @initialize(size=st.integers(1, 8))
    def make(self, size: int) -> None:
        self.size = size
        self.pool = ThreadPool(size)
        self.jobs: list[tuple[Work, Job]] = []

    def those(self, state: str) -> list[tuple[Work, Job]]:
        return [each for each in self.jobs if each[0].state == state]

    def expect(self, work: Work, state: str) -> None:
        wait_until(lambda: work.state == state, f"a job is {state}", seconds=10, every=0.0005)

    @rule(count=st.integers(1, 12))
    def submit(self, count: int) -> None:
        for _ in range(count):
            work = Work()
            self.jobs.append((work, self.pool.submit(work)))

    @precondition(lambda self: self.those("running"))
    @rule(data=st.data(), order=st.sampled_from(["end", "raise"]))
    def end(self, data: Any, order: str) -> None:
        work, _ = data.draw(st.sampled_from(self.those("running")))
        work.orders.put(order)
        self.expect(work, "ended")

    @precondition(lambda self: self.those("running"))
    @rule(data=st.data())
    def wait(self, data: Any) -> None:
        work, _ = data.draw(st.sampled_from(self.those("running")))
        work.orders.put("wait")
        self.expect(work, "waiting")

    @precondition(lambda self: self.those("waiting"))
    @rule(data=st.data())
    def go_on(self, data: Any) -> None:
        work, _ = data.draw(st.sampled_from(self.those("waiting")))
        assert work.wake is not None
        work.wake()
        self.expect(work, "running")

    @precondition(lambda self: self.those("queued"))
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        each = data.draw(st.sampled_from(self.those("queued")))
        assert each[1].take() is not None
        each[0].state = "cancelled"
        assert each[1].take() is None

    @invariant()
    def as_many_run_as_allowed(self) -> None:
        """Jobs wait in the queue only while `size` of them run. Jobs that continue after waiting can exceed `size`."""
        if not hasattr(self, "pool"):
            return
        left = [work for work, _ in self.jobs if work.state in ("queued", "running")]
        due = min(self.size, len(left))
        wait_until(lambda: len(self.those("running")) >= due, f"{due} jobs run", seconds=10, every=0.0005)
        assert not self.those("queued") or len(self.those("running")) >= self.size
        # The function of the last job can have returned just now: its thread is about to be counted as idle.
        running, waiting = len(self.those("running")), len(self.those("waiting"))
        wait_until(lambda: self.pool._counting == running, "the pool counts what runs", seconds=10, every=0.0005)
        assert self.pool._blocked == waiting
        wait_until(
            lambda: len(self.pool._threads) == running + waiting + self.pool._idle,
            "each thread runs, waits or is idle",
            seconds=10,
            every=0.0005,
        )
        assert self.pool._idle <= self.size

    def teardown(self) -> None:
        if not hasattr(self, "pool"):
            return
        for work, _ in self.jobs:
            work.orders.put("end")
            if work.state == "waiting" and work.wake:
                work.wake()
        self.pool.close()
        assert all(work.state in ("ended", "cancelled") for work, _ in self.jobs)
        assert not self.pool._threads


TestPool = Pool.TestCase
TestPool.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


def in_time(function: Callable[[], Any]) -> Any:
    """Return what `function` returns within 20 seconds."""
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(function()), daemon=True)
    thread.start()
    thread.join(20)
    assert result, "it has not returned"
    return result[0]


@task
async def later(number: int) -> int:
    return number


@task
def quick(number: int) -> int:
    return number


@task
def parent(number: int) -> int:
    return later.submit(number).result()  # type: ignore[return-value]


@pytest.mark.parametrize(("size", "children", "parents"), [(2, 20, 2), (2, 20, 9), (250, 750, 250)])
def test_parents_find_threads_for_their_children_after_many_quick_tasks(size: int, children: int, parents: int) -> None:
    @flow(task_runner=ConcurrentTaskRunner(max_workers=size))
    def many() -> int:
        quick.map(range(children)).wait()
        return sum(future.result() for future in parent.map(range(parents)))

    assert in_time(many) == sum(range(parents))


def test_pool_closes_when_threads_end_as_soon_as_they_start() -> None:
    """A substitute for a blocked thread can end before the thread that starts it continues."""

    @flow(task_runner=ConcurrentTaskRunner(max_workers=2))
    def many() -> int:
        quick.map(range(20)).wait()
        return sum(future.result() for future in parent.map(range(9)))

    for _ in range(60):
        assert in_time(many) == sum(range(9))


def test_task_that_was_cancelled_in_the_queue_is_never_executed() -> None:
    started, release = [], threading.Event()

    @task
    def hold() -> None:
        release.wait(20)

    @task
    def work() -> None:
        started.append("work")

    @flow(task_runner=ConcurrentTaskRunner(max_workers=1))
    def one_thread() -> str:
        held, queued = hold.submit(), work.submit()
        cancelled = queued.cancel()
        release.set()
        held.wait()
        assert cancelled
        return queued.state.name

    assert in_time(one_thread) == "Cancelled"
    assert started == []


def test_pool_refuses_jobs_after_its_end() -> None:
    pool = ThreadPool(1)
    pool.close()

    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(print)


def test_pool_ends_idle_threads_after_a_time() -> None:
    pool, done = ThreadPool(4, linger=0.01), threading.Event()
    pool.submit(done.set)
    done.wait(10)

    wait_until(lambda: not pool._threads and not pool._idle, "no thread is left")
    again = threading.Event()
    pool.submit(again.set)
    assert again.wait(10)


def test_idle_thread_keeps_no_reference_to_its_last_job() -> None:
    class Large:
        pass

    large, done = Large(), threading.Event()
    gone = weakref.ref(large)
    pool = ThreadPool(1)
    pool.submit(lambda large=large: done.set())  # type: ignore[misc]
    del large
    done.wait(10)

    wait_until(lambda: gc.collect() is None or gone() is None, "the object is gone", seconds=10)
    pool.close()


def test_finished_run_is_freed_without_garbage_collection() -> None:
    """No object of the runner for a run refers back to it: the collection of many such cycles is slow."""
    kept: list[Any] = []

    class Value:
        pass

    @task
    def make() -> Value:
        value = Value()
        kept.append(weakref.ref(value))
        return value

    @flow(task_runner=ConcurrentTaskRunner())
    def body() -> bool:
        gc.disable()
        try:
            make.submit().wait()
            return bool(wait_until(lambda: kept[0]() is None, "the result is gone", seconds=10))
        finally:
            gc.enable()

    assert body()


class Garbage:
    """An object that only a garbage collection frees, and that calls a function then."""

    def __init__(self, do: Callable[[], object]) -> None:
        self.me, self.do = self, do

    def __del__(self) -> None:
        self.do()


def test_code_that_a_garbage_collection_calls_submits_while_a_thread_is_started() -> None:
    gc.collect()
    gc.freeze()  # else each collection would traverse all objects of other tests
    try:
        for allocations in range(1, 40):
            submit_when_garbage_is_due(allocations)
    finally:
        gc.unfreeze()


def submit_when_garbage_is_due(allocations: int) -> None:
    """Submit a job to a new pool, and another one in a garbage collection that begins at one of its allocations."""
    pool = ThreadPool(1)
    are_over = [threading.Event(), threading.Event()]
    gc.disable()
    Garbage(lambda: pool.submit(are_over[0].set))
    gc.set_threshold(gc.get_count()[0] + allocations)
    gc.enable()

    pool.submit(are_over[1].set)
    gc.set_threshold(700)
    gc.collect()

    assert all(each.wait(10) for each in are_over), allocations
    pool.close()
