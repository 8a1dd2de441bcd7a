"""Code of users that raises where the SDK calls it, or blocks there, on every task runner."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from flowcluster import flow, task
from flowcluster.errors import RemoteError
from flowcluster.states import State, StateType
from flowcluster.task_runners import ConcurrentTaskRunner, TaskRunner
from tests.support import hostile
from tests.support.tasks import echo
from tests.support.waiting import end_of


@task
def fail(name: str) -> None:
    raise hostile.make(name)


@task
async def fail_later(name: str) -> None:
    raise hostile.make(name)


#: An exception that a worker cannot send arrives as a `RemoteError` with its text.
UNSENT = {"ReduceRaises", "ReduceExits", "ReduceIsWrong", "HoldsALock", "FailsToLoad", "KnownHereOnly"}


def test_run_ends_with_the_exception_that_its_code_raises(parallel_runner: TaskRunner) -> None:
    """The exception has the type that was raised, or its name. Other runs on the same worker are not affected."""
    ends: dict[str, list[State]] = {}

    @flow(task_runner=parallel_runner)
    def body() -> str:
        names = [*hostile.ORDINARY, "Base", "GeneratorExit"]
        runs: dict[str, list[Any]] = {name: [fail.submit(name), fail_later.submit(name)] for name in names}
        for name, futures in runs.items():
            ends[name] = [end_of(future) for future in futures]
        assert end_of(echo.submit("undisturbed")).result() == "undisturbed"
        return "over"

    assert body() == "over"
    for name, states in ends.items():
        expected = StateType.FAILED if name in hostile.ORDINARY else StateType.CRASHED
        assert [state.type for state in states] == [expected] * 2, name
        kind = name.split()[0]
        for state, shown in zip(states, (kind, "RuntimeError" if kind == "StopIteration" else kind), strict=True):
            if kind in UNSENT and isinstance(state.data, RemoteError):
                assert str(state.data).startswith(shown)
            else:
                assert type(state.data).__name__ == shown, state


@task
def fail_with(text: str) -> None:
    raise ValueError(text)


def test_exceptions_in_hooks_conditions_and_callbacks_change_no_state(parallel_runner: TaskRunner) -> None:
    """Each of the exceptions is tried, also that of `sys.exit`, which ends no program there."""
    names = [*hostile.ORDINARY, *hostile.OTHERS]
    called: dict[str, list[str]] = {kind: [] for kind in ("completion", "failure", "condition", "callback")}

    def broken(kind: str, name: str) -> None:
        called[kind].append(name)
        raise hostile.make(name)

    fine = echo.with_options(on_completion=[lambda spec, run, state: broken("completion", state.result())])
    failing = fail_with.with_options(
        retries=1,
        retry_condition=lambda spec, run, state: broken("condition", str(state.data)),
        on_failure=[lambda spec, run, state: broken("failure", str(state.data))],
    )
    ends: list[StateType] = []

    @flow(task_runner=parallel_runner)
    def body() -> str:
        for name in names:
            futures: list[Any] = [fine.submit(name), failing.submit(name)]
            futures[0].add_done_callback(lambda future: broken("callback", future.state.result()))
            ends.extend(end_of(future).type for future in futures)
        return "over"

    assert body() == "over"
    assert ends == [StateType.COMPLETED, StateType.FAILED] * len(names)
    assert {kind: sorted(found) for kind, found in called.items()} == dict.fromkeys(called, sorted(names))


def test_exit_in_a_task_ends_the_program_when_its_exception_has_no_text(parallel_runner: TaskRunner) -> None:
    @flow(task_runner=parallel_runner)
    def body() -> None:
        fail.submit("SystemExit").wait()

    with pytest.raises(SystemExit):
        body()


def test_hooks_of_different_runs_run_at_the_same_time(parallel_runner: TaskRunner) -> None:
    """The hooks of many runs wait for each other, so they run at the same time. Those of one run keep their order."""
    barrier = threading.Barrier(8)
    order: dict[str, list[str]] = {}

    def meet(spec: Any, run: Any, state: State) -> None:
        barrier.wait(30)
        order[run.name] = ["first"]

    hooked = echo.with_options(on_completion=[meet, lambda spec, run, state: order[run.name].append("second")])

    @flow(task_runner=parallel_runner)
    def body() -> Any:
        return hooked.map(range(8))

    assert body() == list(range(8))
    assert list(order.values()) == [["first", "second"]] * 8


def test_hook_condition_and_callback_can_wait_for_another_run(parallel_runner: TaskRunner) -> None:
    """Each waits for a run that is submitted after it and depends on the run that it is called for."""
    seen: list[Any] = []

    def wait_for_another(*_: Any) -> bool:
        seen.append(end_of(echo.submit("another")).result())
        return False

    broken = fail.with_options(retries=1, retry_condition=wait_for_another, on_failure=[wait_for_another])
    later: list[Any] = []
    is_submitted = threading.Event()

    def callback(_: Any) -> None:
        is_submitted.wait(30)
        seen.append(end_of(later[0]).result())

    @flow(task_runner=parallel_runner)
    def body() -> str:
        end_of(broken.submit("Frozen"))
        first = echo.submit("first")
        first.add_done_callback(callback)
        later.append(echo.submit(first))
        is_submitted.set()
        end_of(later[0])
        return "over"

    assert body() == "over"
    assert seen == ["another", "another", "first"]


def test_async_hooks_and_conditions_are_awaited(runner: TaskRunner) -> None:
    called: list[str] = []

    async def condition(spec: Any, run: Any, state: State) -> bool:
        called.append("condition")
        return False

    async def hook(spec: Any, run: Any, state: State) -> None:
        called.append(f"{run.name.rpartition('-')[0][:4]} {state.name}")

    broken = fail.with_options(retries=1, retry_condition=condition, on_failure=[hook])

    @flow(task_runner=runner)
    def body() -> str:
        broken.submit("Frozen").wait()
        return "over"

    assert body() == "over"
    assert called == ["condition", "fail Failed"]


def test_hooks_do_not_block_an_event_loop() -> None:
    """The hooks are those of an async flow and of the async tasks that it calls."""
    import asyncio

    threads: list[str] = []

    def hook(*_: Any) -> None:
        threads.append(threading.current_thread().name)

    later = fail_later.with_options(on_failure=[hook], retries=1, retry_condition=hook)

    @flow(task_runner=ConcurrentTaskRunner(), on_completion=[hook])
    async def body() -> str:
        state = await later("Frozen", return_state=True)
        return str(state.type)

    assert asyncio.run(body()) == "FAILED"
    assert len(threads) == 3
    assert "MainThread" not in threads
