"""A task runner as a value: configured once, used by many flow runs."""

from __future__ import annotations

import threading
from typing import Any

import cloudpickle
import pytest

from flowcluster import context, flow
from flowcluster.task_runners import ConcurrentTaskRunner, TaskRunner
from tests.support.tasks import echo


def test_duplicate_is_equal_and_a_separate_object(runner: TaskRunner) -> None:
    """A duplicate has the same configuration, and is not open while the original is."""
    duplicate = runner.duplicate()

    assert duplicate == runner
    assert duplicate is not runner
    assert not duplicate.is_open
    assert ConcurrentTaskRunner(max_workers=3) != ConcurrentTaskRunner(max_workers=4)


def test_open_runner_can_be_pickled(runner: TaskRunner) -> None:
    """The pickled runner has the configuration, and no state of the open runner."""
    inside = []

    def body() -> None:
        echo.submit(1).wait()
        run = context.flow_run()
        assert run is not None
        inside.append(cloudpickle.loads(cloudpickle.dumps(run.runner)))

    flow(task_runner=runner)(body)()

    assert inside == [runner]
    assert not inside[0].is_open


def test_runner_that_is_not_open_refuses_a_task(runner: TaskRunner) -> None:
    """A runner cannot execute tasks before `open`."""
    with pytest.raises(RuntimeError, match="has not been started"):
        runner.submit(None, lambda state: None)  # type: ignore[arg-type]


def test_one_runner_serves_flows_at_the_same_time(runner: TaskRunner) -> None:
    """Two threads run a flow with the same runner object."""
    results: list[Any] = []
    body = flow(task_runner=runner)(lambda: echo.map(range(5)))
    threads = [threading.Thread(target=lambda: results.append(body())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == [list(range(5))] * 2
