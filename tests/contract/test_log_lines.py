"""The log lines of a run: their text and order, with the lines of users among them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from flowcluster import flow, get_run_logger, task
from flowcluster.errors import NoFlowRunError
from flowcluster.task_runners import ConcurrentTaskRunner, DaskTaskRunner, SequentialTaskRunner, TaskRunner
from tests.support.frames import sdk_frames

Lines = Callable[[], list[str]]


@task
def hello_local() -> None:
    pass


@task
def speak(text: str) -> None:
    get_run_logger().warning("I say %s", text, extra={"volume": 11})


def same(line: str) -> str:
    """Return a line with its random names replaced by fixed ones."""
    line = re.sub(r"'[a-z]+-[a-z]+'", "'RUN'", line)
    line = re.sub(r"127\.0\.0\.1:\d+|\d+\.\d+\.\d+\.\d+:\d+", "HOST", line)
    return re.sub(r"-[0-9a-f]{8}-(\d+)'", r"-KEY-\1'", line)


def test_lines_of_a_sequential_flow(lines: Lines) -> None:
    """The lines are these, in this order, each with the name of its logger."""

    @flow(name="sequential-flow", task_runner=SequentialTaskRunner)
    def body() -> None:
        hello_local.submit()
        child()

    @flow(name="child-flow")
    def child() -> None:
        hello_local()

    body()

    assert [same(line) for line in lines()] == [
        "flowcluster.engine - Created flow run 'RUN' for flow 'RUN'",
        "Flow run 'RUN' - Starting 'SequentialTaskRunner'; submitted tasks will be run sequentially...",
        "Flow run 'RUN' - Created task run 'hello_local-KEY-0' for task 'hello_local'",
        "Flow run 'RUN' - Executing 'hello_local-KEY-0' immediately...",
        "Task run 'hello_local-KEY-0' - Finished in state Completed()",
        "Flow run 'RUN' - Created subflow run 'RUN' for flow 'RUN'",
        "Flow run 'RUN' - Created task run 'hello_local-KEY-1' for task 'hello_local'",
        "Flow run 'RUN' - Executing 'hello_local-KEY-1' immediately...",
        "Task run 'hello_local-KEY-1' - Finished in state Completed()",
        "Flow run 'RUN' - Finished in state Completed('All states completed.')",
        "Flow run 'RUN' - Finished in state Completed('All states completed.')",
    ]


def test_lines_of_a_submitted_task(lines: Lines) -> None:
    """A parallel runner logs that it submitted the run. The run's last line comes before the flow's."""

    @flow(task_runner=ConcurrentTaskRunner)
    def body() -> None:
        hello_local.submit()

    body()
    seen = [same(line) for line in lines()]

    assert "Flow run 'RUN' - Submitted task run 'hello_local-KEY-0' for execution." in seen
    assert seen[-2] == "Task run 'hello_local-KEY-0' - Finished in state Completed()"
    assert seen[-1] == "Flow run 'RUN' - Finished in state Completed('All states completed.')"


def test_lines_about_a_temporary_cluster(lines: Lines) -> None:
    """The Dask runner logs which cluster it creates, and the URL of its dashboard."""
    kwargs = {"n_workers": 0, "processes": False, "dashboard_address": ":0"}

    @flow(task_runner=DaskTaskRunner(cluster_kwargs=kwargs))
    def body() -> None:
        pass

    body()
    seen = [same(line) for line in lines()]

    assert seen[2] == (
        "flowcluster.task_runner.dask - Creating a new Dask cluster with `distributed.deploy.local.LocalCluster`"
    )
    assert seen[3] == "flowcluster.task_runner.dask - The Dask dashboard is available at http://HOST/status"


@pytest.mark.every_ray(long=["temporary ray"])
def test_log_lines_of_users_reach_the_log_of_the_driver(
    runner: TaskRunner, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    """A line of a task appears under the task run's name, also when a worker logged it."""
    names = []

    @flow(task_runner=runner)
    def body() -> None:
        get_run_logger().info("flow speaks")
        future = speak.submit("hi")
        names.append(future.name)
        future.wait()

    body()
    record = next(record for record in caplog.records if record.getMessage() == "I say hi")

    assert f"Task run '{names[0]}' - I say hi" in lines()
    assert any(line.startswith("Flow run '") and line.endswith("' - flow speaks") for line in lines())
    assert record.levelname == "WARNING"
    assert vars(record)["volume"] == 11
    assert vars(record)["task_name"] == "speak"


def test_failure_is_logged_once_with_the_users_traceback(runner: TaskRunner, lines: Lines) -> None:
    """The traceback of a failed task is shown without the SDK's own frames."""

    @task
    def bad() -> None:
        raise ValueError("boom")

    @flow(task_runner=runner)
    def body() -> None:
        bad.submit()

    body(return_state=True)
    shown = [line for line in lines() if "Encountered exception during execution:" in line]

    assert len(shown) == 1
    assert 'raise ValueError("boom")' in shown[0]
    assert shown[0].endswith("ValueError: boom")
    assert sdk_frames(shown[0]) == []


def test_run_logger_needs_a_run() -> None:
    """`get_run_logger` raises outside of a run."""
    with pytest.raises(NoFlowRunError):
        get_run_logger()


def test_key_in_the_name_of_a_task_run_is_stable_for_its_function(lines: Lines) -> None:
    """A function has the same key in the next run, and another function has another key."""

    @flow
    def body() -> Any:
        return [hello_local.submit().name, speak.submit("x").name]

    first, second = body(), body()

    assert first == second
    assert first[0].split("-")[1] != first[1].split("-")[1]
