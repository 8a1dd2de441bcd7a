"""`flowcluster` as people and programs use it: JSON on stdout, values on the command line, help with mistakes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FLOWS = Path(__file__).with_name("flows") / "command_line.py"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the program runs: a directory with a file of flows."""
    shutil.copy(FLOWS, tmp_path / "flows_here.py")
    return tmp_path


def program(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line as a user has it, with log lines only about what is wrong."""
    return subprocess.run(
        [sys.executable, "-m", "flowcluster.cli.main", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        env={**os.environ, "FLOWCLUSTER_LOGGING_LEVEL": "CRITICAL", **environment},
    )


def outcome(directory: Path, flow: str, *arguments: str) -> tuple[dict[str, Any], subprocess.CompletedProcess[str]]:
    """The JSON document that is all of stdout."""
    done = program(directory, "run", f"flows_here.py:{flow}", "--json", *arguments)
    told: dict[str, Any] = json.loads(done.stdout)

    assert done.stdout.count("\n") == 1
    assert told["exitCode"] == done.returncode
    return told, done


def test_json_is_all_of_stdout(directory: Path) -> None:
    """One document; what flow, tasks and programs print goes to stderr."""
    told, done = outcome(directory, "greetings", "-p", "name=ann", "-p", "times=2")
    duration = told.pop("duration")

    assert re.fullmatch("[a-z]+-[a-z]+", told.pop("name"))
    assert told == {
        "state": "Completed",
        "reason": "FlowCompleted",
        "message": "All states completed.",
        "flow": "greetings",
        "result": ["ann None", "ann None"],
        "tasks": {"total": 2, "completed": 2, "failed": 0, "cancelled": 0},
        "exitCode": 0,
    }
    assert 0 < duration < 60
    assert done.stderr.count("flow writes") == 1
    assert done.stderr.count("a program says ann") == 2


def test_json_is_all_of_stdout_with_workers(directory: Path) -> None:
    """Workers of a local cluster, which inherit stdout, keep to that too."""
    told, done = outcome(directory, "on_workers")

    assert told["tasks"]["completed"] == 1
    assert "say far away" in done.stderr


@pytest.mark.parametrize(
    ("flow", "expected"),
    [
        ("two_of_three", ("Failed", "TasksFailed", 1, "two of three")),
        ("exits", ("Crashed", "FlowExited", 7, "exits")),
        ("interrupted", ("Cancelled", "Cancelled", 3, "interrupted")),
        ("untyped", ("Failed", "InvalidParameters", 2, "untyped")),
        ("unknown", ("Failed", "EntrypointNotFound", 2, None)),
    ],
)
def test_json_tells_every_end(directory: Path, flow: str, expected: tuple[Any, ...]) -> None:
    """State, reason and exit code agree; where no flow was found there is no name, and the document all the same."""
    told, done = outcome(directory, flow)

    assert (told["state"], told["reason"], told["exitCode"], told["flow"]) == expected
    assert (told["name"] is None) == (told["flow"] is None)
    assert told["result"] is None
    assert done.stderr.splitlines()[-1] == f"{told['reason']}: {told['message']}"


def test_json_has_the_whole_result(directory: Path) -> None:
    """Models, dates and sets are written as JSON has them, a large result is not cut, an odd one is named."""
    assert outcome(directory, "report")[0]["result"] == {
        "report": {"day": "2042-01-02", "values": [1], "share": 0.5},
        "3": [None, True],
    }
    assert outcome(directory, "large")[0]["result"] == ["x" * 100] * 100
    odd = outcome(directory, "odd")[0]
    assert (odd["state"], odd["result"]) == ("Completed", None)
    assert "object" in odd["resultError"]


@pytest.mark.parametrize(
    ("assignment", "result"),
    [
        ("value=1", ["int", 1]),
        ("value=-1.5", ["float", -1.5]),
        ("value=true", ["bool", True]),
        ("value=null", ["NoneType", None]),
        ('value={"a": [1]}', ["dict", {"a": [1]}]),
        ('value="1"', ["str", "1"]),
        ("value=1 and more", ["str", "1 and more"]),
        ("value=a=b", ["str", "a=b"]),
        ("value=", ["str", ""]),
        ("value=@value.json", ["dict", {"from": "a file"}]),
    ],
)
def test_values_on_the_command_line(directory: Path, assignment: str, result: list[Any]) -> None:
    """JSON where it is JSON, else text; a file's content after @."""
    (directory / "value.json").write_text('{"from": "a file"}')

    assert outcome(directory, "untyped", "-p", assignment)[0]["result"] == result


@pytest.mark.parametrize(
    ("assignments", "result"),
    [
        (["name=123"], ["123 None"]),
        (["name=null"], ["null None"]),
        (["name=x", "tag=null"], ["x None"]),
        (["name=x", "tag=2042"], ["x 2042"]),
        (['name="quoted"'], ["quoted None"]),
        (["name=x", "times=0"], []),
    ],
)
def test_annotations_decide_what_is_text(directory: Path, assignments: list[str], result: list[str]) -> None:
    """A parameter that is annotated as text takes what looks like a number as it is written."""
    arguments = [part for assignment in assignments for part in ("-p", assignment)]

    assert outcome(directory, "greetings", *arguments)[0]["result"] == result


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["flows_her.py:greetings"], "There is no file flows_her.py (did you mean 'flows_here.py'?); looked from "),
        (["flows_her:greetings"], "There is no module flows_her (did you mean 'flows_here'?); looked from "),
        (["flows_here.py"], "'flows_here.py' names no flow: write flows_here.py:FUNCTION."),
        (
            ["flows_here.py:greting"],
            "flows_here.py has no 'greting' (did you mean 'greetings'?); its flows: greetings, ",
        ),
        (["flows_here.py:say"], "'say' in flows_here.py is a task, and only a flow can run by itself; its flows: gre"),
        (
            ["flows_here.py:greetings", "-p", "nam=x"],
            "unknown parameter 'nam' (did you mean 'name'?); it takes: name, ",
        ),
        (["flows_here.py:greetings", "-p", "name"], "'-p name' is no parameter: write -p name=value."),
        (["flows_here.py:greetings"], "Flow 'greetings': parameter 'name' is missing."),
        (
            ["flows_here.py:greetings", "-p", "name=x", "-p", "times=many"],
            "Flow 'greetings': parameter 'times': Input should be a valid integer",
        ),
        (
            ["flows_here.py:greetings", "-p", "name=@valu.json"],
            "Parameter 'name': valu.json: No such file or directory (did you mean 'value.json'?). "
            "For a text that begins with @, write -p name='\"@…\"'.",
        ),
        (["flows_here.py:greetings", "-p", "name=@flows_here.py"], "Parameter 'name': flows_here.py is not JSON: "),
    ],
)
def test_mistakes_are_named(directory: Path, arguments: list[str], message: str) -> None:
    """One line on stderr with the culprit and what may have been meant; exit code 2, and nothing on stdout."""
    (directory / "value.json").write_text("1")
    done = program(directory, "run", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_version(directory: Path) -> None:
    """`flowcluster --version` is one line."""
    done = program(directory, "--version")

    assert done.returncode == 0
    assert re.fullmatch(r"flowcluster \d+\.\d+\.\d+\S*\n", done.stdout)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_help_has_examples(directory: Path, arguments: list[str]) -> None:
    """Help shows command lines to begin with, each on a line of its own."""
    shown = program(directory, *arguments).stdout

    assert "  flowcluster run package.module:report -p year=2042 -p config=@config.json\n" in shown
