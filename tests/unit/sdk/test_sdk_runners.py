"""Threads and event loops that run tasks in this process."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from flowcluster._util.portal import Portal, run_on_new_loop
from flowcluster.runners.threads import ThreadPool
from flowcluster.task_runners import ConcurrentTaskRunner, DaskTaskRunner, RayTaskRunner, SequentialTaskRunner
from tests.support.waiting import wait_until

number: contextvars.ContextVar[int] = contextvars.ContextVar("number", default=0)


@pytest.mark.parametrize("runner", [SequentialTaskRunner(), ConcurrentTaskRunner(), DaskTaskRunner(), RayTaskRunner()])
def test_duplicate_is_another_runner_of_the_same_configuration(runner: Any) -> None:
    """A flow run never starts the configured instance itself."""
    duplicate = runner.duplicate()

    assert duplicate is not runner
    assert vars(duplicate) == vars(runner)


@pytest.mark.parametrize("runner", [SequentialTaskRunner(), ConcurrentTaskRunner(), DaskTaskRunner(), RayTaskRunner()])
def test_runner_that_was_not_started_refuses_calls(runner: Any) -> None:
    """Submitting before the start raises an error instead of blocking."""
    with pytest.raises(RuntimeError, match="has not been started"):
        runner.submit(object(), print)


def test_pool_starts_threads_only_when_needed() -> None:
    """A job uses an idle thread when there is one."""
    pool = ThreadPool(10)
    names = set()
    for _ in range(5):
        pool.submit(lambda: names.add(threading.current_thread().name))
        wait_until(lambda: pool._idle == 1, "the thread is idle", every=0.001)
    pool.close()

    assert names == {"flowcluster-0"}


def test_pool_is_bounded() -> None:
    """The pool never has more threads than the limit, and executes all jobs."""
    pool = ThreadPool(2)
    names, lock, left = set(), threading.Lock(), threading.Semaphore(0)

    def job() -> None:
        with lock:
            names.add(threading.current_thread().name)
        left.release()

    for _ in range(50):
        pool.submit(job)
    for _ in range(50):
        left.acquire()
    pool.close()

    assert names <= {"flowcluster-0", "flowcluster-1"}


def test_abandoned_pool_drops_queued_jobs() -> None:
    """Closing without waiting leaves the busy thread running and never starts the queued job."""
    pool = ThreadPool(1)
    busy, release, started = threading.Event(), threading.Event(), []

    def hold() -> None:
        busy.set()
        release.wait()

    pool.submit(hold)
    busy.wait()
    pool.submit(lambda: started.append("queued"))
    pool.close(abandon=True)
    release.set()
    wait_until(lambda: not pool._threads, "the thread has ended")

    assert started == []


def test_jobs_have_the_context_of_the_caller() -> None:
    """The thread and the loop have the context variables of the caller."""
    seen: list[int] = []
    number.set(5)
    pool, portal, done = ThreadPool(1), Portal(), threading.Event()

    async def look() -> int:
        return number.get()

    pool.submit(lambda: seen.append(number.get()))
    pool.close()

    def note(value: int) -> None:
        seen.append(value)
        done.set()

    portal.spawn(look(), note)
    done.wait()
    seen.append(portal.run(look()))
    portal.close()

    assert seen == [5, 5, 5]


def test_portal_cancels_running_coroutines_when_it_closes() -> None:
    """Closing the loop ends its coroutines and its thread. Closing it again does nothing."""
    portal = Portal()
    ended, started = threading.Event(), threading.Event()

    async def hang() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    portal.spawn(hang(), print)
    started.wait()
    portal.close()
    portal.close()

    assert ended.is_set()


def test_portal_raises_the_exception_of_the_coroutine() -> None:
    """The caller gets the exception."""
    portal = Portal()

    async def fail() -> None:
        raise KeyError("k")

    with pytest.raises(KeyError):
        portal.run(fail())
    portal.close()


def test_new_loop_works_inside_a_running_one() -> None:
    """A thread that already runs a loop gets the coroutine's result or exception from another thread."""

    async def inner(fails: bool) -> str:
        if fails:
            raise KeyError("inner")
        return threading.current_thread().name

    async def outer() -> None:
        assert run_on_new_loop(inner(False)) == "flowcluster-flow"
        with pytest.raises(KeyError, match="inner"):
            run_on_new_loop(inner(True))

    asyncio.run(outer())
    assert run_on_new_loop(inner(False)) == threading.current_thread().name
