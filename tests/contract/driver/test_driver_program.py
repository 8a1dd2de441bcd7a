"""`flowcluster run` as a program: exit codes, streams, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


def program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "flowcluster.cli.main", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_command_line_exits_with_the_outcome(flows: str) -> None:
    """`flowcluster run FILE:FLOW -p key=value` writes to stdout only what the flow prints."""
    done = program("run", f"{flows}:greetings", "-p", 'names=["a"]', "-p", "greeting=hi")

    assert (done.returncode, done.stdout) == (0, "say hi a\n")


def test_command_line_writes_no_result_to_stdout(flows: str) -> None:
    """The process exits with the exit code of the flow, and stdout contains only what the flow prints."""
    done = program("run", f"{flows}:exits", "-p", "code=42", FLOWCLUSTER_LOGGING_LEVEL="CRITICAL")

    assert (done.returncode, done.stdout) == (42, "")
    assert done.stderr == "FlowExited: the flow called sys.exit(42)\n"


@pytest.mark.parametrize(("arguments", "text"), [(["run"], "Missing argument"), (["rum"], "No such command")])
def test_command_line_explains_wrong_usage_in_plain_text(arguments: list[str], text: str) -> None:
    """A wrong command line exits with 2, and stderr has the reason in plain text."""
    done = program(*arguments)

    assert done.returncode == 2
    assert text in done.stderr
    assert not set("│╭╮") & set(done.stderr)


def test_driver_writes_an_outcome_when_its_command_line_is_wrong(tmp_path: Path) -> None:
    """The operator reads the outcome also when the run could not start."""
    outcome = tmp_path / "outcome"
    done = program("run", "--no-such-option", FLOWCLUSTER_OUTCOME_PATH=str(outcome))
    written = json.loads(outcome.read_text())

    assert (done.returncode, written["reason"], written["exitCode"]) == (222, "InvalidCommand", 222)


def test_driver_is_cancelled_when_it_is_stopped_while_it_imports(tmp_path: Path) -> None:
    """SIGTERM during the import of the flow's file ends as Cancelled, not as ImportFailed."""
    outcome, pipe = tmp_path / "outcome", tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "slow.py").write_text(f"open({str(pipe)!r}, 'w').close()\nimport signal\nsignal.pause()\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "flowcluster.cli.main", "run", f"{tmp_path}/slow.py:flow"],
        env={**os.environ, "FLOWCLUSTER_OUTCOME_PATH": str(outcome)},
        stderr=subprocess.PIPE,
        text=True,
    )
    pipe.read_text()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 3
    assert json.loads(outcome.read_text())["reason"] == "Cancelled"
    assert errors == "Cancelled: The flow run was stopped by SIGTERM.\n"


def test_help_lists_the_commands() -> None:
    """`--help` lists every command."""
    done = program("--help")

    assert done.returncode == 0
    assert "run" in done.stdout
