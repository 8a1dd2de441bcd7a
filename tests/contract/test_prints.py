"""`log_prints`: what a run prints becomes its log lines, on every runner, and no other output does."""

from __future__ import annotations

import builtins
import contextlib
import io
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowcluster import Flow, Task, flow, task
from flowcluster.task_runners import ConcurrentTaskRunner, DaskTaskRunner, SequentialTaskRunner, TaskRunner

Lines = Callable[[], list[str]]


def printing(
    body: Callable[[], Any], runner: Any = SequentialTaskRunner, log_prints: bool | None = True
) -> Flow[Any, Any]:
    """Return a flow whose prints are logged."""
    return flow(task_runner=runner, log_prints=log_prints)(body)


def with_prints(function: Callable[..., Any], log_prints: bool | None) -> Task[Any, Any]:
    return task(log_prints=log_prints)(function)


class Written:
    """A replacement of stdout in a task, on every runner."""

    text = ""

    def write(self, text: str) -> None:
        self.text += text


@task
def speak() -> None:
    print("I", "say", 1, sep="-")


@task
async def speak_later() -> None:
    print("later")


def printed_lines(lines: Lines) -> list[str]:
    """Return the log lines of runs, without those of the engine."""
    engine = ("Created", "Starting", "Executing", "Submitted", "Finished")
    shown = [line for line in lines() if line.startswith(("Flow run", "Task run"))]
    return [line for line in shown if not line.partition(" - ")[2].startswith(engine)]


def test_prints_become_lines_of_their_run(
    runner: TaskRunner, lines: Lines, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Prints of flow and tasks are logged under their own names at level INFO, before they end, and not on stdout."""
    names: list[str] = []

    def body() -> None:
        print("flow speaks")
        for one in (speak, speak_later):
            future = one.submit()
            names.append(future.name)
            future.wait()

    printing(body, runner)()
    shown = lines()

    assert [line.partition(" - ")[2] for line in printed_lines(lines)] == ["flow speaks", "I-say-1", "later"]
    for name, text in zip(names, ("I-say-1", "later"), strict=True):
        assert shown.index(f"Task run '{name}' - {text}") < shown.index(
            f"Task run '{name}' - Finished in state Completed()"
        )
    assert capfd.readouterr().out == ""
    record = next(record for record in caplog.records if record.getMessage() == "I-say-1")
    assert (record.levelno, record.filename, record.funcName) == (logging.INFO, "test_prints.py", "speak")


def test_prints_are_not_logged_by_default(runner: TaskRunner, lines: Lines) -> None:
    """A flow without `log_prints` prints to stdout, also after a flow with it in the same process."""
    printing(lambda: print("logged"))()

    @task
    def plain() -> str:
        out, sys.stdout = sys.stdout, Written()
        try:
            print("plain")
            return sys.stdout.text
        finally:
            sys.stdout = out

    def body() -> Any:
        return plain.submit()

    assert printing(body, runner, None)() == "plain\n"
    assert [line.partition(" - ")[2] for line in printed_lines(lines)] == ["logged"]


@pytest.mark.parametrize(
    ("of_task", "of_flow", "logged"), [(None, True, True), (False, True, False), (True, False, True)]
)
def test_log_prints_of_a_task_overrides_that_of_its_flow(
    of_task: bool | None, of_flow: bool, logged: bool, lines: Lines, capfd: pytest.CaptureFixture[str]
) -> None:
    """A task without `log_prints` uses that of its flow."""
    one = with_prints(lambda: print("hi"), of_task)
    printing(lambda: one.submit().wait(), log_prints=of_flow)()

    assert bool(printed_lines(lines)) == logged
    assert (capfd.readouterr().out == "hi\n") != logged


@pytest.mark.parametrize(("of_child", "logged"), [(None, True), (False, False)])
def test_subflow_uses_log_prints_of_its_parent_by_default(of_child: bool | None, logged: bool, lines: Lines) -> None:
    """A subflow without `log_prints` uses that of its parent."""
    child = printing(lambda: print("child"), log_prints=of_child)
    printing(lambda: child())()

    assert bool(printed_lines(lines)) == logged


def test_child_run_uses_log_prints_of_its_task_by_default(lines: Lines) -> None:
    """A run that a task submits uses `log_prints` of that task, unless it has its own."""

    @task
    def outer() -> None:
        print("outer")
        speak.submit().wait()

    printing(lambda: outer.submit().wait() and None, ConcurrentTaskRunner)()

    assert [line.partition(" - ")[2] for line in printed_lines(lines)] == ["outer", "I-say-1"]


def test_line_is_logged_when_it_is_whole(lines: Lines) -> None:
    """Pieces of a line are one record, as are several lines in one call. A last piece without an end is logged too."""

    def body() -> None:
        for _ in range(3):
            print(".", end="", flush=True)
        print(" done")
        print("one\ntwo")
        print()
        print("100%", 5, sep=" of ", end="")

    printing(body)()

    assert [line.partition(" - ")[2] for line in printed_lines(lines)] == ["... done", "one\ntwo", "", "100% of 5"]


def test_prints_to_other_streams_are_not_logged(lines: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    """A file, stderr and a redirected stdout get what is printed to them."""
    collected, stream = io.StringIO(), io.StringIO()

    def body() -> None:
        print("to a stream", file=stream)
        print("to stderr", file=sys.stderr)
        print("to stdout", file=sys.stdout)
        with contextlib.redirect_stdout(collected):
            print("collected")

    printing(body)()

    assert [line.partition(" - ")[2] for line in printed_lines(lines)] == ["to stdout"]
    assert (collected.getvalue(), stream.getvalue()) == ("collected\n", "to a stream\n")
    assert "to stderr\n" in capsys.readouterr().err


def test_prints_go_to_the_file_that_stdout_is_redirected_to(lines: Lines, tmp_path: Path) -> None:
    @task(log_prints=True)
    def redirected() -> None:
        print("of a task")

    def body() -> None:
        with (tmp_path / "report.txt").open("w") as report, contextlib.redirect_stdout(report):
            print("of the flow")
            redirected()
        print("logged")

    printing(body)()

    assert (tmp_path / "report.txt").read_text() == "of the flow\nof a task\n"
    assert [line.partition(" - ")[2] for line in printed_lines(lines)] == ["logged"]


def test_prints_of_threads_outside_of_runs_are_not_logged(lines: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    """A thread that a flow starts does not belong to its run unless it gets the run's context."""

    def body() -> None:
        thread = threading.Thread(target=print, args=("outside of runs",))
        thread.start()
        thread.join()

    printing(body)()
    print("after")

    assert printed_lines(lines) == []
    assert capsys.readouterr().out == "outside of runs\nafter\n"


def test_print_refuses_wrong_arguments(runner: TaskRunner) -> None:
    """The replaced `print` raises the errors of Python's own."""

    @task
    def wrong() -> None:
        print("x", sep=5)  # type: ignore[call-overload]

    def body() -> Any:
        return wrong.submit()

    with pytest.raises(TypeError, match="sep must be None or a string, not int"):
        printing(body, runner)()


def test_log_handler_can_print(capsys: pytest.CaptureFixture[str]) -> None:
    """An application whose log handler prints gets each line once."""

    class Printing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name == "flowcluster.flow_runs":
                print("HANDLER", record.getMessage())

    handler = Printing()
    logging.getLogger("flowcluster").addHandler(handler)
    try:
        printing(lambda: print("hi"))()
    finally:
        logging.getLogger("flowcluster").removeHandler(handler)

    assert capsys.readouterr().out.splitlines().count("HANDLER hi") == 1


def test_reference_to_print_is_pickled_as_print(cluster: Any, lines: Lines) -> None:
    """On a worker, a pickled reference to `print` is the worker's `print`, replaced there or not."""
    printing(lambda: None)()

    @task
    def is_print(function: Any) -> bool:
        return function is builtins.print

    def body() -> Any:
        return is_print.submit(print)

    assert printing(body, DaskTaskRunner(address=cluster.scheduler_address), False)() is True


def test_many_threads_keep_their_own_lines(lines: Lines) -> None:
    """Tasks that run at the same time do not mix the pieces of their lines."""
    start = threading.Barrier(4)

    def pieces(number: int) -> None:
        start.wait()
        for _ in range(50):
            print(number, end="")
        print()

    one = with_prints(pieces, True)
    printing(lambda: [one.submit(number).wait(0) for number in range(4)] and None, ConcurrentTaskRunner)()

    assert sorted(line.partition(" - ")[2] for line in printed_lines(lines)) == [
        str(number) * 50 for number in range(4)
    ]


@pytest.mark.parametrize("argument", ["", "--before"])
def test_prints_become_lines_when_ray_replaces_print(argument: str) -> None:
    """Ray replaces `print` when the first line of a worker arrives, before or during a flow run."""
    program = Path(__file__).parent / "flows" / "prints_beside_ray.py"
    done = subprocess.run([sys.executable, program, argument], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == ""
    assert re.findall(r"\| Flow run '[^']+' - (one|two)$", done.stderr, re.MULTILINE) == ["one", "two"] * 2
