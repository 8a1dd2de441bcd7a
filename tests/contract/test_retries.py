"""Runs that are executed again, on every task runner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flowcluster import flow, get_run_context, task
from flowcluster.errors import UpstreamFailed
from flowcluster.task_runners import SequentialTaskRunner, TaskRunner
from flowcluster.tasks import exponential_backoff
from tests.support.meeting import Desk, note
from tests.support.tasks import echo
from tests.support.waiting import wait_until


@task
def succeed_at(attempt: int, address: str, text: str = "executed") -> int:
    executions = note(address, text)
    if executions < attempt:
        raise ValueError(f"execution {executions}")
    return get_run_context().run_count


def run(runner: TaskRunner, function: Callable[[], Any], **options: Any) -> Any:
    return flow(task_runner=runner, **options)(function)()


def test_failed_task_is_executed_again_as_often_as_needed(runner: TaskRunner, desk: Desk) -> None:
    """The third of four allowed executions completes. The function can read the number of its execution."""

    def body() -> Any:
        return succeed_at.with_options(retries=3).submit(3, desk.address)

    assert run(runner, body) == 3
    assert desk.notes == ["executed"] * 3


def test_retries_end(runner: TaskRunner, desk: Desk) -> None:
    """After the last retry the run ends as its last execution did."""

    def body() -> Any:
        future = succeed_at.with_options(retries=2).submit(9, desk.address)
        state = future.wait()
        with pytest.raises(ValueError, match="execution 3"):
            future.result()
        return state.is_failed()

    assert run(runner, body) is True
    assert desk.notes == ["executed"] * 3


def test_downstream_waits_for_the_last_execution(runner: TaskRunner, desk: Desk) -> None:
    """Downstream runs get the result of the execution that completed."""

    def body() -> Any:
        return echo.submit([succeed_at.with_options(retries=1).submit(2, desk.address)])

    assert run(runner, body) == [2]


def test_direct_call_is_executed_again(desk: Desk) -> None:
    """A direct call has the same retries as `submit`."""

    @task(retries=1)
    async def succeed_later() -> int:
        return succeed_at.fn(2, desk.address)

    def body() -> Any:
        return succeed_at.with_options(retries=1)(2, desk.address, "other"), succeed_later()

    assert run(SequentialTaskRunner(), body) == (2, 2)


def test_condition_decides_about_a_retry(runner: TaskRunner, desk: Desk) -> None:
    """The condition gets the task, the run and the state. If it returns False, there is no retry."""
    seen = []

    def condition(task: Any, run: Any, state: Any) -> bool:
        seen.append((task.name, run.name[:10], run.attempt, str(state.result(raise_on_failure=False))))
        return "execution 1" in state.message

    def body() -> Any:
        return succeed_at.with_options(retries=5, retry_condition=condition).submit(9, desk.address).wait().message

    assert "execution 2" in run(runner, body)
    assert seen == [("succeed_at", "succeed_at", 1, "execution 1"), ("succeed_at", "succeed_at", 2, "execution 2")]


def test_broken_condition_means_no_retry(desk: Desk, lines: Any) -> None:
    """An exception in the condition is logged, and the run fails with its own."""

    def condition(task: Any, run: Any, state: Any) -> bool:
        raise KeyError("broken")

    def body() -> Any:
        succeed_at.with_options(retries=5, retry_condition=condition).submit(9, desk.address).wait()

    with pytest.raises(ValueError, match="execution 1"):
        run(SequentialTaskRunner(), body)
    assert any("retry_condition raised, so 'succeed_at-" in line for line in lines())


def test_upstream_failure_is_not_tried_again(runner: TaskRunner, desk: Desk) -> None:
    """A run that did not start has no execution to repeat."""

    def body() -> None:
        broken = succeed_at.submit(9, desk.address)
        with pytest.raises(UpstreamFailed):
            echo.with_options(retries=3, retry_delay_seconds=60).submit(broken).result()

    with pytest.raises(ValueError, match="execution 1"):
        run(runner, body)


def test_retry_delays_are_logged_and_kept(lines: Any, desk: Desk) -> None:
    """The last delay of a list is repeated. Each retry is one line in the log."""

    def body() -> Any:
        options = succeed_at.with_options(retries=3, retry_delay_seconds=[0.01, 0.02])
        return options.submit(4, desk.address)

    run(SequentialTaskRunner(), body)
    retries = [line.partition("; ")[2] for line in lines() if "; retry" in line]
    assert retries == [
        "retry 1 of 3 starts in 0.01 s.",
        "retry 2 of 3 starts in 0.02 s.",
        "retry 3 of 3 starts in 0.02 s.",
    ]


def test_retry_delays_can_grow() -> None:
    """A function of the number of retries returns the delays."""
    assert task(retries=4, retry_delay_seconds=exponential_backoff(10))(print).spec.retry_delays == (10, 20, 40, 80)


def test_waiting_for_a_retry_is_a_state(parallel_runner: TaskRunner, desk: Desk) -> None:
    """Between two executions the run is pending, and can be cancelled."""

    def body() -> Any:
        future = succeed_at.with_options(retries=1, retry_delay_seconds=600).submit(2, desk.address)
        wait_until(lambda: future.state.name == "AwaitingRetry", "the first execution has failed")
        assert future.wait(0) is None
        assert future.state.is_pending()
        assert future.cancel()
        return future.wait().name

    assert run(parallel_runner, body) == "Cancelled"


def test_failed_flow_is_executed_again(runner: TaskRunner, desk: Desk) -> None:
    """The function is called again. The tasks of the execution before do not count."""

    def body() -> int:
        executions = note(desk.address, "executed")
        echo.submit(1)
        if executions < 3:
            raise ValueError(f"execution {executions}")
        return get_run_context().run_count

    assert run(runner, body, retries=2) == 3


def test_retry_of_a_flow_uses_the_same_cluster(desk: Desk, lines: Any, runner: TaskRunner) -> None:
    """The runner is opened once, however often the flow function is called."""

    def body() -> None:
        echo.submit(1)
        if note(desk.address, "executed") < 3:
            raise ValueError("again")

    run(runner, body, retries=2)
    assert len([line for line in lines() if "dashboard is available" in line or "Starting '" in line]) <= 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retries": -1}, "retries must be at least 0, not -1"),
        ({"retries": 1.5}, "retries must be a whole number, not 1.5"),
        ({"retry_delay_seconds": "soon"}, "retry_delay_seconds must be a number, not 'soon'"),
        ({"retry_delay_seconds": [1, -1]}, "retry_delay_seconds must be at least 0, not -1"),
        ({"retry_condition": True}, "retry_condition must be a function, not True"),
        ({"timeout_seconds": 0}, "timeout_seconds must be more than 0"),
        ({"retrys": 1}, "has no option 'retrys' (did you mean 'retries'?)."),
    ],
)
@pytest.mark.parametrize("decorator", [flow, task])
def test_wrong_options_are_named(decorator: Any, options: dict[str, Any], message: str) -> None:
    """The decorators of tasks and flows raise an error that names the option."""
    with pytest.raises((TypeError, ValueError)) as refused:
        decorator(**options)(print)

    assert message in str(refused.value)
