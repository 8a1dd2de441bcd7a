"""`log_prints`: what a run prints becomes its log lines, wherever it runs, and nothing else does."""

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
    """A flow whose prints are logged."""
    return flow(task_runner=runner, log_prints=log_prints)(body)


def with_prints(function: Callable[..., Any], log_prints: bool | None) -> Task[Any, Any]:
    return task(log_prints=log_prints)(function)


class Written:
    """A stdout in a task, wherever that runs."""

    text = ""

    def write(self, text: str) -> None:
        self.text += text


@task
def speak() -> None:
    print("I", "say", 1, sep="-")


@task
async def speak_later() -> None:
    print("later")


def said(lines: Lines) -> list[str]:
    """Who said what, without what the engine says."""
    engine = ("Created", "Starting", "Executing", "Submitted", "Finished")
    shown = [line for line in lines() if line.startswith(("Flow run", "Task run"))]
    return [line for line in shown if not line.partition(" - ")[2].startswith(engine)]


def test_prints_become_lines_of_their_run(
    runner: TaskRunner, lines: Lines, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Flow and tasks speak under their own names at level INFO, before they end, and stdout gets nothing."""
    names: list[str] = []

    def body() -> None:
        print("flow speaks")
        for one in (speak, speak_later):
            future = one.submit()
            names.append(future.name)
            future.wait()

    printing(body, runner)()
    shown = lines()

    assert [line.partition(" - ")[2] for line in said(lines)] == ["flow speaks", "I-say-1", "later"]
    for name, text in zip(names, ("I-say-1", "later"), strict=True):
        assert shown.index(f"Task run '{name}' - {text}") < shown.index(
            f"Task run '{name}' - Finished in state Completed()"
        )
    assert capfd.readouterr().out == ""
    record = next(record for record in caplog.records if record.getMessage() == "I-say-1")
    assert (record.levelno, record.filename, record.funcName) == (logging.INFO, "test_prints.py", "speak")


def test_prints_stay_prints_without_it(runner: TaskRunner, lines: Lines) -> None:
    """A flow that does not ask for it prints as ever, also after another one in this process that did."""
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
    assert [line.partition(" - ")[2] for line in said(lines)] == ["logged"]


@pytest.mark.parametrize(
    ("of_task", "of_flow", "logged"), [(None, True, True), (False, True, False), (True, False, True)]
)
def test_task_may_differ_from_its_flow(
    of_task: bool | None, of_flow: bool, logged: bool, lines: Lines, capfd: pytest.CaptureFixture[str]
) -> None:
    """A task follows its flow unless it says otherwise."""
    one = with_prints(lambda: print("hi"), of_task)
    printing(lambda: one.submit().wait(), log_prints=of_flow)()

    assert bool(said(lines)) == logged
    assert (capfd.readouterr().out == "hi\n") != logged


@pytest.mark.parametrize(("of_child", "logged"), [(None, True), (False, False)])
def test_subflow_follows_its_parent(of_child: bool | None, logged: bool, lines: Lines) -> None:
    """A subflow that says nothing about it does as the flow that calls it."""
    child = printing(lambda: print("child"), log_prints=of_child)
    printing(lambda: child())()

    assert bool(said(lines)) == logged


def test_what_a_task_submits_follows_the_task(lines: Lines) -> None:
    """Runs that a task submits print as the task does, unless they say otherwise."""

    @task
    def outer() -> None:
        print("outer")
        speak.submit().wait()

    printing(lambda: outer.submit().wait() and None, ConcurrentTaskRunner)()

    assert [line.partition(" - ")[2] for line in said(lines)] == ["outer", "I-say-1"]


def test_line_is_logged_when_it_is_whole(lines: Lines) -> None:
    """`end` is respected: pieces of a line are one record, several lines in one call too, a last piece is kept."""

    def body() -> None:
        for _ in range(3):
            print(".", end="", flush=True)
        print(" done")
        print("one\ntwo")
        print()
        print("100%", 5, sep=" of ", end="")

    printing(body)()

    assert [line.partition(" - ")[2] for line in said(lines)] == ["... done", "one\ntwo", "", "100% of 5"]


def test_other_streams_are_left_alone(lines: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    """A file, stderr, and what somebody collects by redirecting stdout get what is printed to them."""
    collected, stream = io.StringIO(), io.StringIO()

    def body() -> None:
        print("to a stream", file=stream)
        print("to stderr", file=sys.stderr)
        print("to stdout", file=sys.stdout)
        with contextlib.redirect_stdout(collected):
            print("collected")

    printing(body)()

    assert [line.partition(" - ")[2] for line in said(lines)] == ["to stdout"]
    assert (collected.getvalue(), stream.getvalue()) == ("collected\n", "to a stream\n")
    assert "to stderr\n" in capsys.readouterr().err


def test_file_that_stdout_is_redirected_to_gets_what_is_printed(lines: Lines, tmp_path: Path) -> None:
    @task(log_prints=True)
    def told() -> None:
        print("of a task")

    def body() -> None:
        with (tmp_path / "report.txt").open("w") as report, contextlib.redirect_stdout(report):
            print("of the flow")
            told()
        print("logged")

    printing(body)()

    assert (tmp_path / "report.txt").read_text() == "of the flow\nof a task\n"
    assert [line.partition(" - ")[2] for line in said(lines)] == ["logged"]


def test_threads_outside_of_runs_print_as_ever(lines: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    """A thread that a flow starts does not belong to its run unless it gets the run's context."""

    def body() -> None:
        thread = threading.Thread(target=print, args=("of nobody",))
        thread.start()
        thread.join()

    printing(body)()
    print("after")

    assert said(lines) == []
    assert capsys.readouterr().out == "of nobody\nafter\n"


def test_wrong_arguments_are_wrong_as_ever(runner: TaskRunner) -> None:
    """`print` refuses what it always refused."""

    @task
    def wrong() -> None:
        print("x", sep=5)  # type: ignore[call-overload]

    def body() -> Any:
        return wrong.submit()

    with pytest.raises(TypeError, match="sep must be None or a string, not int"):
        printing(body, runner)()


def test_log_handler_may_print(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_print_itself_travels(cluster: Any, lines: Lines) -> None:
    """A reference to `print` means on a worker, which may not have replaced it, what it means there."""
    printing(lambda: None)()

    @task
    def is_print(function: Any) -> bool:
        return function is builtins.print

    def body() -> Any:
        return is_print.submit(print)

    assert printing(body, DaskTaskRunner(address=cluster.scheduler_address), False)() is True


def test_many_threads_keep_their_own_lines(lines: Lines) -> None:
    """Tasks beside each other do not mix the pieces of their lines."""
    start = threading.Barrier(4)

    def pieces(number: int) -> None:
        start.wait()
        for _ in range(50):
            print(number, end="")
        print()

    one = with_prints(pieces, True)
    printing(lambda: [one.submit(number).wait(0) for number in range(4)] and None, ConcurrentTaskRunner)()

    assert sorted(line.partition(" - ")[2] for line in said(lines)) == [str(number) * 50 for number in range(4)]


@pytest.mark.parametrize("argument", ["", "--before"])
def test_prints_become_lines_when_ray_replaces_print(argument: str) -> None:
    """Ray does so when the first line of a worker arrives, before or during a flow run."""
    program = Path(__file__).parent / "flows" / "prints_beside_ray.py"
    done = subprocess.run([sys.executable, program, argument], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == ""
    assert re.findall(r"\| Flow run '[^']+' - (one|two)$", done.stderr, re.MULTILINE) == ["one", "two"] * 2
