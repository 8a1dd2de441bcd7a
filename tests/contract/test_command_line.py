"""`flowcluster` as users and programs run it: JSON on stdout, values on the command line, messages about mistakes."""

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
    """The working directory of the program, with a file of flows."""
    shutil.copy(FLOWS, tmp_path / "flows_here.py")
    return tmp_path


def program(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does, with log lines from WARNING on."""
    return subprocess.run(
        [sys.executable, "-m", "flowcluster.cli.main", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        env={**os.environ, "FLOWCLUSTER_LOGGING_LEVEL": "CRITICAL", **environment},
    )


def outcome(directory: Path, flow: str, *arguments: str) -> tuple[dict[str, Any], subprocess.CompletedProcess[str]]:
    """Run a flow with `--json`, and return the document, which is all of stdout, and the ended process."""
    done = program(directory, "run", f"flows_here.py:{flow}", "--json", *arguments)
    document: dict[str, Any] = json.loads(done.stdout)

    assert done.stdout.count("\n") == 1
    assert document["exitCode"] == done.returncode
    return document, done


def test_json_is_all_of_stdout(directory: Path) -> None:
    """Stdout has one document. What flow, tasks and programs print goes to stderr."""
    document, done = outcome(directory, "greetings", "-p", "name=ann", "-p", "times=2")
    duration = document.pop("duration")

    assert re.fullmatch("[a-z]+-[a-z]+", document.pop("name"))
    assert document == {
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
    """Workers of a local cluster, which inherit stdout, write nothing to it."""
    document, done = outcome(directory, "on_workers")

    assert document["tasks"]["completed"] == 1
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
def test_json_has_the_outcome_of_every_end(directory: Path, flow: str, expected: tuple[Any, ...]) -> None:
    """State, reason and exit code agree. Without a flow the document is written as well, with null as its name."""
    document, done = outcome(directory, flow)

    assert (document["state"], document["reason"], document["exitCode"], document["flow"]) == expected
    assert (document["name"] is None) == (document["flow"] is None)
    assert document["result"] is None
    assert done.stderr.splitlines()[-1] == f"{document['reason']}: {document['message']}"


def test_json_has_the_whole_result(directory: Path) -> None:
    """Models, dates and sets become JSON, a large result is not cut, and one that cannot be JSON is named."""
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
    """A value is JSON if it can be parsed as JSON, else text. After @ it is the content of a file."""
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
def test_parameter_annotated_as_text_takes_numbers_as_text(
    directory: Path, assignments: list[str], result: list[str]
) -> None:
    """A value that looks like a number stays as it is written."""
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
            ["flows_here.py:greetings", "-p", "nam=x"],  # codespell:ignore nam
            "unknown parameter 'nam' (did you mean 'name'?); it takes: name, ",
        ),
        (["flows_here.py:greetings", "-p", "name"], "'-p name' is not a parameter: write -p name=value."),
        (["flows_here.py:greetings"], "Flow 'greetings': parameter 'name' is missing."),
        (
            ["flows_here.py:greetings", "-p", "name=x", "-p", "times=many"],
            "Flow 'greetings': parameter 'times': Input should be a valid integer",
        ),
        (
            ["flows_here.py:greetings", "-p", "name=@valu.json"],  # codespell:ignore valu
            # codespell:ignore-next-line valu
            "Parameter 'name': valu.json: No such file or directory (did you mean 'value.json'?). "
            "For a text that begins with @, write -p name='\"@…\"'.",
        ),
        (["flows_here.py:greetings", "-p", "name=@flows_here.py"], "Parameter 'name': flows_here.py is not JSON: "),
    ],
)
def test_command_line_names_the_mistake(directory: Path, arguments: list[str], message: str) -> None:
    """Stderr has one line with the wrong word and a suggestion, stdout is empty, and the exit code is 2."""
    (directory / "value.json").write_text("1")
    done = program(directory, "run", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_version(directory: Path) -> None:
    """`flowcluster --version` prints one line."""
    done = program(directory, "--version")

    assert done.returncode == 0
    assert re.fullmatch(r"flowcluster \d+\.\d+\.\d+\S*\n", done.stdout)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_help_has_examples(directory: Path, arguments: list[str]) -> None:
    """Help shows command lines to begin with, each on a line of its own."""
    shown = program(directory, *arguments).stdout

    assert "  flowcluster run package.module:report -p year=2042 -p config=@config.json\n" in shown
