"""How task runs and flow runs end, on every task runner."""

from __future__ import annotations

import collections
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from flowcluster import flow, task
from flowcluster.errors import ParameterError, UpstreamFailed
from flowcluster.states import StateType
from flowcluster.task_runners import ConcurrentTaskRunner, SequentialTaskRunner, TaskRunner
from tests.support.frames import sdk_frames
from tests.support.tasks import echo
from tests.support.waiting import wait_until


@task
def fail(text: str = "boom") -> None:
    raise ValueError(text)


@task
def leave(code: Any) -> None:
    sys.exit(code)


def final_state(runner: TaskRunner, function: Callable[[], Any]) -> Any:
    return flow(task_runner=runner)(function)(return_state=True)


def test_result_raises_the_tasks_exception(runner: TaskRunner) -> None:
    """`result` raises what the task raised, or returns it with `raise_on_failure=False`."""

    def body() -> str:
        future = fail.submit("no luck")
        with pytest.raises(ValueError, match="no luck"):
            future.result()
        error = future.result(raise_on_failure=False)

        assert isinstance(error, ValueError)
        assert future.get_state().is_failed()
        assert future.state.message == "Task run encountered an exception: ValueError: no luck"
        return "seen"

    assert final_state(runner, body).result() == "seen"


def test_exception_keeps_the_line_that_raised_it(runner: TaskRunner) -> None:
    """The traceback of a task's exception has the line of the task, also from a worker."""
    from flowcluster._output.tracebacks import format_trimmed

    def body() -> None:
        fail.submit()

    state = final_state(runner, body)
    text = format_trimmed(state.data)

    assert "test_states_and_failures.py" in text
    assert "raise ValueError(text)" in text
    assert sdk_frames(text) == []


@pytest.mark.every_ray(long=["temporary ray"])
def test_task_downstream_of_a_failure_never_starts(runner: TaskRunner) -> None:
    """It ends as NotReady, of type PENDING, as do its downstream tasks. The message names the upstream task."""

    def body() -> str:
        failed = fail.submit()
        second = echo.submit(failed)
        third = echo.submit(1, wait_for=[second])
        state = second.wait()

        assert (state.name, state.type) == ("NotReady", StateType.PENDING)
        assert state.message == f"Upstream task run '{failed.name}' did not reach a 'COMPLETED' state."
        assert third.wait().name == "NotReady"
        with pytest.raises(UpstreamFailed, match=failed.name):
            second.result()
        return "seen"

    assert final_state(runner, body).is_completed()


def test_direct_call_downstream_of_a_failure_raises(runner: TaskRunner) -> None:
    """A directly called task does not start either. The caller gets an exception, or the state."""

    def body() -> str:
        failed = fail.submit()
        with pytest.raises(UpstreamFailed):
            echo(failed)
        return echo(1, wait_for=[failed], return_state=True).name

    assert final_state(runner, body).result() == "NotReady"


def test_flow_without_return_value_counts_its_tasks(runner: TaskRunner) -> None:
    """The message is that all completed, or the number of those that failed."""

    def good() -> None:
        for number in range(3):
            echo.submit(number)

    def bad() -> None:
        echo.submit(1)
        echo.submit(2)
        fail.submit()

    assert repr(final_state(runner, good)) == "Completed('All states completed.')"

    state = final_state(runner, bad)

    assert repr(state) == "Failed('1/3 states failed.')"
    with pytest.raises(ValueError, match="boom"):
        state.result()


def test_flow_that_returns_futures_has_their_state(runner: TaskRunner) -> None:
    """Only the returned futures and states count, and the caller gets their values."""

    def body() -> Any:
        fail.submit()
        return {"future": echo.submit(1), "state": echo.submit(2).wait(), "plain": 3}

    state = final_state(runner, body)

    assert state.message == "All states completed."
    assert state.result() == {"future": 1, "state": 2, "plain": 3}


def test_flow_that_returns_a_failed_future_fails(runner: TaskRunner) -> None:
    """The message counts the returned futures, and a direct call raises the task's exception."""

    @flow(task_runner=runner)
    def body() -> Any:
        return [echo.submit(1), fail.submit("returned")]

    assert body(return_state=True).message == "1/2 states failed."
    with pytest.raises(ValueError, match="returned"):
        body()


def test_flow_that_returns_a_plain_value_completes(runner: TaskRunner) -> None:
    """A value without a future is the result, however the tasks ended."""

    def body() -> int:
        fail.submit()
        return 5

    state = final_state(runner, body)

    assert repr(state) == "Completed()"
    assert state.result() == 5


def test_exception_in_the_flow_function_fails_the_flow(runner: TaskRunner) -> None:
    """The caller gets the exception itself, after the submitted tasks have ended."""
    error = RuntimeError("flow broke")
    futures = []

    @flow(task_runner=runner)
    def body() -> None:
        futures.append(echo.submit(1))
        raise error

    with pytest.raises(RuntimeError) as caught:
        body()

    assert caught.value is error
    assert caught.traceback[-1].name == "body"
    assert futures[0].state.is_completed()


def test_failed_direct_call_raises_in_the_flow(runner: TaskRunner) -> None:
    """A directly called task raises its own exception where it is called."""

    def body() -> str | None:
        with pytest.raises(ValueError, match="direct"):
            fail("direct")
        return fail("state", return_state=True).message

    assert "ValueError: state" in final_state(runner, body).result()


def test_sys_exit_in_a_task_ends_the_program(runner: TaskRunner) -> None:
    """`sys.exit` in a submitted task ends that task as Crashed, and reaches the caller of the flow."""
    futures = []

    @flow(task_runner=runner)
    def body() -> str:
        futures.append(leave.submit(7))
        return "a value does not hide it"

    with pytest.raises(SystemExit) as caught:
        body()

    assert caught.value.code == 7
    assert futures[0].state.is_crashed()
    assert futures[0].state.message == "Task run called sys.exit(7)."


def test_sys_exit_in_the_flow_ends_the_program(runner: TaskRunner) -> None:
    """`sys.exit` in a subflow ends the program, also through `return_state`."""

    @flow
    def inner() -> None:
        sys.exit("enough")

    @flow(task_runner=runner)
    def outer() -> None:
        inner(return_state=True)

    with pytest.raises(SystemExit, match="enough"):
        outer(return_state=True)


def test_parameters_are_converted(runner: TaskRunner) -> None:
    """A flow's parameters arrive in the types of their annotations."""

    @flow(task_runner=runner)
    def body(count: int, names: list[str], ratio: float = 0.5, anything=None) -> Any:  # type: ignore[no-untyped-def]
        return echo.submit([count, names, ratio, anything])

    assert body("3", ("a", "b"), anything="x") == [3, ["a", "b"], 0.5, "x"]  # type: ignore[call-overload]


def test_iterable_parameter_can_be_iterated_twice_and_reaches_tasks(runner: TaskRunner) -> None:
    @flow(task_runner=runner)
    def body(numbers: Iterable[int], table: Mapping[str, int]) -> Any:
        seen = [list(numbers), list(numbers)]
        return seen, echo.submit(numbers).result(), echo.submit(table).result()

    table = collections.defaultdict(int, a=1)
    seen, numbers, arrived = body([1, 2], table)

    assert (seen, numbers, arrived) == ([[1, 2]] * 2, [1, 2], table)
    assert arrived.default_factory is int


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"count": "many"}, r"parameter 'count': Input should be a valid integer.*not 'many'"),
        ({}, "parameter 'count' is missing"),
        ({"count": 1, "cuont": 2}, r"unknown parameter 'cuont' \(did you mean 'count'\?\); it takes: count, names"),
        ({"count": 1, "names": ["a", 2]}, r"parameter 'names'\[1\]: Input should be a valid string"),
    ],
)
def test_wrong_parameters_are_named(arguments: dict[str, Any], text: str) -> None:
    """A wrong, missing or unknown parameter is named, before the flow starts."""

    @flow
    def body(count: int, names: list[str] = ()) -> None:  # type: ignore[assignment]
        raise AssertionError("started")

    with pytest.raises(ParameterError, match=text):
        body(**arguments)


def test_parameters_can_stay_unchecked() -> None:
    """`validate_parameters=False` passes values unchanged."""

    @flow(validate_parameters=False)
    def body(count: int) -> Any:
        return count

    assert body("many") == "many"  # type: ignore[call-overload]


def test_interruption_stops_waiting_for_tasks() -> None:
    """Ctrl-C in a flow cancels the tasks that still run, and reaches the caller."""
    running = threading.Event()
    release = threading.Event()
    futures = []

    @task
    def hang() -> None:
        running.set()
        release.wait()

    @flow(task_runner=ConcurrentTaskRunner(max_workers=1))
    def body() -> None:
        futures.extend([hang.submit(), hang.submit()])
        running.wait()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        body()

    assert [future.state.is_cancelled() for future in futures] == [True, True]
    release.set()


def test_interruption_of_a_sequential_task_stops_the_flow() -> None:
    """Ctrl-C during a task that runs in the flow's thread interrupts the flow."""
    after = []

    @task
    def interrupted() -> None:
        raise KeyboardInterrupt

    @flow(task_runner=SequentialTaskRunner)
    def body() -> None:
        interrupted.submit()
        after.append("went on")

    with pytest.raises(KeyboardInterrupt):
        body()

    assert after == []


@task
def is_endless(value: list[Any]) -> bool:
    return value[0] is value


def test_argument_that_contains_itself_arrives_as_it_is(runner: TaskRunner) -> None:
    def body() -> Any:
        endless: list[Any] = []
        endless.append(endless)
        return is_endless.submit(endless)

    assert final_state(runner, body).result()


def test_submit_raises_when_an_argument_cannot_be_searched_for_futures(runner: TaskRunner) -> None:
    """The flow does not wait for that run."""

    def body() -> str:
        with pytest.raises(TypeError):
            echo.submit(1, wait_for=5)  # type: ignore[call-overload]
        return "went on"

    assert final_state(runner, body).result() == "went on"


def test_argument_that_cannot_be_sent_fails_that_task_only(cluster: Any) -> None:
    """On a cluster, an argument that cannot be pickled ends its own task run, with the reason."""
    from flowcluster.task_runners import DaskTaskRunner

    def body() -> str:
        locked = echo.submit(threading.Lock())
        fine = echo.submit(1)

        assert locked.wait().is_crashed()
        assert "cannot pickle '_thread.lock'" in str(locked.state.message)
        assert fine.result() == 1
        return "seen"

    runner = DaskTaskRunner(address=cluster.scheduler_address)

    assert final_state(runner, body).result() == "seen"


def test_state_is_running_while_the_function_runs(parallel_runner: TaskRunner, gate: Any, wait: Any) -> None:
    """A run is Pending until a worker starts it."""
    path = gate.address

    @task
    def busy() -> None:
        wait(path)

    @flow(task_runner=parallel_runner)
    def body() -> bool:
        future = busy.submit()
        after = echo.submit(future)
        wait_until(lambda: future.state.is_running(), "the run has begun")
        assert after.state.is_pending()
        gate.open()
        return future.wait().is_completed()

    assert body()
