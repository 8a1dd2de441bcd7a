"""Runs on Ray: lost workers, log lines, cancellation."""

from __future__ import annotations

import os
import signal
from typing import Any

from flowcluster import allow_failure, flow, get_run_logger, task
from flowcluster.context import flow_run
from flowcluster.task_runners import RayTaskRunner
from tests.support.meeting import Desk, note
from tests.support.tasks import die, echo
from tests.support.waiting import wait_until


def test_lost_worker_crashes_only_its_task(own_ray: None) -> None:
    """The task of a killed worker ends as Crashed. Downstream runs never start, or get the exception."""

    @flow(task_runner=RayTaskRunner)
    def body() -> Any:
        dead = die.submit()
        chained = echo.submit(dead)
        allowed = echo.submit([allow_failure(dead)])
        return [repr(dead.wait()), chained.wait().name, repr(allowed.result()[0]), echo.submit("alive").result()]

    dead, chained, allowed, alive = body()

    assert dead.startswith('Crashed("Task run lost its worker: ')
    assert chained == "NotReady"
    assert "WorkerCrashedError" in allowed
    assert alive == "alive"


def test_task_that_kills_its_worker_is_not_repeated(own_ray: None, desk: Desk) -> None:
    """Ray does not retry the task."""

    @task
    def note_and_die(address: str) -> None:
        note(address, "executed")
        os.kill(os.getpid(), signal.SIGKILL)

    @flow(task_runner=RayTaskRunner)
    def body() -> None:
        assert note_and_die.submit(desk.address).wait().is_crashed()

    body(return_state=True)

    assert desk.notes == ["executed"]


def test_log_lines_of_a_long_task_are_shown_while_it_runs(own_ray: None, lines: Any, gate: Any, wait: Any) -> None:
    """A line is shown soon, while its task runs. All lines come in order, before the task's last line."""

    @task
    def speak(path: str) -> None:
        get_run_logger().info("one")
        wait(path)
        get_run_logger().info("two")

    @flow(task_runner=RayTaskRunner)
    def body() -> str:
        future = speak.submit(gate.address)
        wait_until(lambda: any(line.endswith(" - one") for line in lines()), "the first line is here")
        gate.open()
        return future.name

    body()
    of_task = [line.split(" - ", 1)[1] for line in lines() if line.startswith("Task run")]

    assert of_task == ["one", "two", "Finished in state Completed()"]


def test_cancelled_task_stops(own_ray: None, gate: Any, wait: Any, desk: Desk) -> None:
    """A cancelled run is interrupted on its worker."""

    @task
    def spin(gate: str, desk: str) -> None:
        try:
            wait(gate)
            while True:
                pass
        finally:
            note(desk, "ended")

    @flow(task_runner=RayTaskRunner)
    def body() -> None:
        future = spin.submit(gate.address, desk.address)
        gate.open()
        run = flow_run()
        assert run is not None
        run.runner.cancel(future.handle)  # type: ignore[attr-defined]
        future.wait()

    body(return_state=True)

    assert desk.notes == ["ended"]
