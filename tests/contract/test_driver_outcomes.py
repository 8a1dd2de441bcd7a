"""`flowcluster run`, on a desk and as the operator's driver: exit codes, outcomes, what people read."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcluster import pickling
from flowcluster.cli import driver
from flowcluster.engine import signals

FLOWS = """
import sys
from flowcluster import flow, task, get_run_logger

@task
def say(text):
    print("say", text, flush=True)
    return text

@task
def bad():
    raise KeyError("lost key")

@task
def leave(code):
    sys.exit(code)

@flow
def greetings(names: list[str], greeting: str = "hello"):
    return [say.submit(f"{greeting} {name}") for name in names]

@flow
async def async_greetings(names: list[str]):
    return [say.submit(name) for name in names]

@flow
def boom():
    say.submit("before")
    raise ValueError("no way")

@flow
def child(number: int):
    pass

@flow
def wrong_child():
    child("many")

@flow
def exits(code=3):
    sys.exit(code)

@flow
def exits_in_task():
    leave.submit(4)

@flow
def two_of_three():
    say.submit("a"); bad.submit(); say.submit("b")

@flow
def interrupted():
    raise KeyboardInterrupt

@flow
def named():
    from flowcluster.context import flow_run
    return flow_run().name

@flow
def large():
    return "x" * 10_000

class Point:
    x = 3

@flow
def point():
    return Point()

@flow
def unspeakable():
    return object()

def function():
    pass
"""


@pytest.fixture
def flows(tmp_path: Path) -> str:
    """A file of flows."""
    file = tmp_path / "flows_to_run.py"
    file.write_text(FLOWS)
    return str(file)


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """Runs the driver in this process and gives the outcome that it left in its file."""
    before = (list(sys.path), set(sys.modules), signal.getsignal(signal.SIGTERM))

    def drive(entrypoint: str, *parameters: str, **environment: str) -> dict[str, Any]:
        file = tmp_path / "outcome.json"
        file.unlink(missing_ok=True)
        outcome = driver.main(entrypoint, parameters, {"FLOWCLUSTER_OUTCOME_PATH": str(file), **environment}).outcome
        told: dict[str, Any] = json.loads(file.read_text())

        assert outcome.exit_code == told["exitCode"]
        return told

    yield drive
    sys.path[:] = before[0]
    for name in set(sys.modules) - before[1]:
        if name in pickling.scripts:
            del sys.modules[name]
    pickling.scripts.clear()
    signals.on_sigterm.clear()
    signal.signal(signal.SIGTERM, before[2])


def test_completed_flow(drive: Any, flows: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, the counts of tasks, and the result as JSON."""
    told = drive(f"{flows}:greetings", 'names=["a","b"]')

    assert told == {
        "state": "Completed",
        "reason": "FlowCompleted",
        "message": "All states completed.",
        "exitCode": 0,
        "tasks": {"total": 2, "completed": 2, "failed": 0},
        "result": '["hello a","hello b"]',
    }
    assert "hello" in capfd.readouterr().out  # two tasks may print into each other


def test_parameters_of_the_operator_and_of_the_command_line(drive: Any, flows: str) -> None:
    """`-p` goes over what the environment says."""
    told = drive(f"{flows}:greetings", "greeting=hi", FLOWCLUSTER_PARAMETERS='{"names": ["a"], "greeting": "not this"}')

    assert told["result"] == '["hi a"]'


def test_run_takes_its_name_from_the_operator(drive: Any, flows: str) -> None:
    """The flow run is named after the FlowRun."""
    assert drive(f"{flows}:named", FLOWCLUSTER_RUN_NAME="report-x7")["result"] == '"report-x7"'


def test_async_flow_runs(drive: Any, flows: str) -> None:
    """An async flow needs nothing else."""
    assert drive(f"{flows}:async_greetings", 'names=["a"]')["result"] == '["a"]'


@pytest.mark.parametrize(
    ("entrypoint", "expected"),
    [
        ("boom", ("Failed", "FlowFailed", 1)),
        ("wrong_child", ("Failed", "FlowFailed", 1)),
        ("two_of_three", ("Failed", "TasksFailed", 1)),
        ("exits", ("Crashed", "FlowExited", 3)),
        ("exits_in_task", ("Crashed", "FlowExited", 4)),
        ("interrupted", ("Cancelled", "Cancelled", 3)),
        ("greetings", ("Failed", "InvalidParameters", 2)),
        ("nothing", ("Failed", "EntrypointNotFound", 2)),
        ("function", ("Failed", "EntrypointNotFound", 2)),
    ],
)
def test_every_end_has_its_reason(drive: Any, flows: str, entrypoint: str, expected: tuple[str, str, int]) -> None:
    """State, reason and exit code for each way a run can end."""
    told = drive(f"{flows}:{entrypoint}")

    assert (told["state"], told["reason"], told["exitCode"]) == expected


@pytest.mark.parametrize(
    ("entrypoint", "message"),
    [
        ("boom", "ValueError: no way (flows_to_run.py:29 in boom)"),
        ("two_of_three", "1/3 states failed. The first: KeyError: 'lost key' (flows_to_run.py:12 in bad)"),
        ("exits", "the flow called sys.exit(3)"),
        ("exits_in_task", "the flow called sys.exit(4)"),
        ("greetings", "Flow 'greetings': parameter 'names' is missing."),
        ("function", "'function' in FILE is no flow but a function: decorate it with @flow."),
    ],
)
def test_message_is_one_sentence_for_people(
    drive: Any, flows: str, entrypoint: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What went wrong and where, in the outcome and at the end of stderr."""
    told = drive(f"{flows}:{entrypoint}")

    assert told["message"] == message.replace("FILE", flows)
    assert capfd.readouterr().err.splitlines()[-1] == f"{told['reason']}: {told['message']}"


def test_counts_of_a_failed_flow(drive: Any, flows: str) -> None:
    """Task runs are counted by how they ended."""
    assert drive(f"{flows}:two_of_three")["tasks"] == {"total": 3, "completed": 2, "failed": 1}


@pytest.mark.parametrize(
    ("name", "why"), [("large", "more than 2048 bytes"), ("unspeakable", "cannot be written as JSON")]
)
def test_result_is_told_only_where_it_can_be(drive: Any, flows: str, name: str, why: str) -> None:
    """A large result, or one that JSON cannot say, is left out with the reason; the flow completed all the same."""
    told = drive(f"{flows}:{name}")

    assert (told["reason"], "result" in told) == ("FlowCompleted", False)
    assert why in told["resultOmitted"]


def of_operator(storage: str) -> dict[str, str]:
    """What the operator tells a driver whose results go to a storage."""
    return {
        "FLOWCLUSTER_RESULT_STORAGE": storage,
        "FLOWCLUSTER_RUN_NAME": "run",
        "FLOWCLUSTER_RUN_UID": "1-2",
        "FLOWCLUSTER_NAMESPACE": "team",
        "FLOWCLUSTER_LEASE_DURATION": "60",
        "FLOWCLUSTER_POD_NAME": "run-0",
    }


def test_result_goes_to_the_storage_that_was_named(drive: Any, flows: str, tmp_path: Path) -> None:
    """What the record cannot hold is there as a pickle, with the code of its class; the outcome says where."""
    told = drive(f"{flows}:point", **of_operator(f"file://{tmp_path}/results/"))
    file = tmp_path / "results" / "team-run-1-2.pickle"

    assert (told["reason"], told["resultUrl"]) == ("FlowCompleted", f"file://{file}")
    assert "resultOmitted" not in told
    sys.modules.pop("flows_to_run")
    assert pickle.loads(file.read_bytes()).x == 3


def test_small_result_needs_no_storage(drive: Any, flows: str, tmp_path: Path) -> None:
    """The record has it; nothing is written."""
    told = drive(f"{flows}:named", **of_operator(str(tmp_path / "results")))

    assert told["result"] == '"run"'
    assert not (tmp_path / "results").exists()


def test_result_that_cannot_be_stored_fails_the_run(drive: Any, flows: str, tmp_path: Path) -> None:
    """Who asked for the result in a storage is told that it is not there."""
    (tmp_path / "file").touch()
    told = drive(f"{flows}:large", **of_operator(f"{tmp_path}/file"))

    assert (told["state"], told["reason"], told["exitCode"]) == ("Failed", "ResultNotStored", 1)
    assert f"{tmp_path}/file/team-run-1-2.pickle" in told["message"]


def test_storage_that_nothing_serves_is_told_before_the_flow_begins(drive: Any, flows: str) -> None:
    """A wrong URL costs no run, and its password is told to nobody."""
    told = drive(f"{flows}:large", **of_operator("nowhere://me:secret@host/path"))

    assert (told["reason"], told["exitCode"]) == ("InvalidResultStorage", 2)
    assert "nowhere://host/path" in told["message"]
    assert "secret" not in told["message"]


@pytest.mark.parametrize(
    ("source", "reason", "message"),
    [
        ("import no_such_thing", "ImportFailed", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("def broken(:", "ImportFailed", "SyntaxError"),
        ("1 / 0", "ImportFailed", "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(5)", "ImportFailed", "called sys.exit(5) while it was imported"),
    ],
)
def test_file_that_cannot_be_imported(
    drive: Any, tmp_path: Path, source: str, reason: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The reason tells that the user's file is to blame, and stderr has its traceback without ours."""
    file = tmp_path / "broken_file.py"
    file.write_text(source)
    told = drive(f"{file}:flow")
    errors = capfd.readouterr().err

    assert (told["reason"], told["exitCode"]) == (reason, 2)
    assert message in told["message"]
    assert "sdk/flowcluster" not in errors


@pytest.mark.parametrize(
    ("entrypoint", "message"),
    [
        ("no/such/file.py:flow", "There is no file no/such/file.py"),
        ("no_such_package.module:flow", "There is no module no_such_package.module"),
        ("json:dumps", "'dumps' in json is no flow but a function"),
        ("flows", "'flows' names no flow: write FILE.py:FUNCTION"),
    ],
)
def test_entrypoint_that_leads_nowhere(drive: Any, entrypoint: str, message: str) -> None:
    """File, module, name and kind are each told apart."""
    told = drive(entrypoint)

    assert told["reason"] == "EntrypointNotFound"
    assert message in told["message"]


def test_file_may_have_the_name_of_a_module(drive: Any, tmp_path: Path) -> None:
    """A flow file called json.py does not hide the json that others import, and finds its neighbours."""
    (tmp_path / "neighbour_of_json.py").write_text("WORD = 'next door'")
    (tmp_path / "json.py").write_text(
        "from flowcluster import flow\nfrom neighbour_of_json import WORD\n@flow\ndef f():\n    return WORD\n"
    )

    assert drive(f"{tmp_path}/json.py:f")["result"] == '"next door"'


@pytest.mark.parametrize(
    ("environment", "reason", "exit_code"),
    [
        ({"FLOWCLUSTER_CLUSTER_KIND": "Ray"}, "ClusterKindUnsupported", 2),
        ({"FLOWCLUSTER_CLUSTER_KIND": "Dask"}, "ClusterUnreachable", 2),
        (
            {
                "FLOWCLUSTER_CLUSTER_KIND": "Dask",
                "FLOWCLUSTER_CLUSTER_ADDRESS": "tcp://127.0.0.1:9",
            },
            "ClusterUnreachable",
            1,
        ),
        ({"FLOWCLUSTER_PARAMETERS": "{"}, "InvalidParameters", 2),
    ],
)
def test_environment_that_does_not_fit(
    drive: Any,
    flows: str,
    environment: dict[str, str],
    reason: str,
    exit_code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A kind that is not served, an address that nobody answers at, parameters that are no JSON."""
    monkeypatch.setenv("FLOWCLUSTER_CLUSTER_TIMEOUT", "0.1")
    told = drive(f"{flows}:named", **environment)

    assert (told["reason"], told["exitCode"]) == (reason, exit_code)


def test_operators_cluster_replaces_the_flows_runner(drive: Any, tmp_path: Path, cluster: Any) -> None:
    """The top-level flow runs on the run's own cluster, a subflow where it says; code of the file travels."""
    file = tmp_path / "on_cluster.py"
    file.write_text(
        "import os\n"
        "from flowcluster import flow, task\n"
        "from flowcluster.task_runners import SequentialTaskRunner\n"
        "def helper(): return os.getpid()\n"
        "@task\n"
        "def where(): return helper()\n"
        "@flow(task_runner=SequentialTaskRunner)\n"
        "def child(): return where.submit()\n"
        "@flow(task_runner=SequentialTaskRunner)\n"
        "def parent(): return [where.submit(), child()]\n"
    )
    told = drive(
        f"{file}:parent",
        FLOWCLUSTER_CLUSTER_KIND="Dask",
        FLOWCLUSTER_CLUSTER_ADDRESS=cluster.scheduler_address,
    )
    on_cluster, in_child = json.loads(told["result"])

    assert on_cluster != os.getpid() == in_child


def program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line as a user has it."""
    return subprocess.run(
        [sys.executable, "-m", "flowcluster.cli.main", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_command_line_exits_with_the_outcome(flows: str) -> None:
    """`flowcluster run FILE:FLOW -p key=value`: stdout is what the flow prints."""
    done = program("run", f"{flows}:greetings", "-p", 'names=["a"]', "-p", "greeting=hi")

    assert (done.returncode, done.stdout) == (0, "say hi a\n")


def test_command_line_without_a_result_on_stdout(flows: str) -> None:
    """An exit code of the flow is the process's own; stdout belongs to the flow."""
    done = program("run", f"{flows}:exits", "-p", "code=42", FLOWCLUSTER_LOGGING_LEVEL="CRITICAL")

    assert (done.returncode, done.stdout) == (42, "")
    assert done.stderr == "FlowExited: the flow called sys.exit(42)\n"


@pytest.mark.parametrize(("arguments", "text"), [(["run"], "Missing argument"), (["rum"], "No such command")])
def test_wrong_usage_is_told_plainly(arguments: list[str], text: str) -> None:
    """A wrong command line exits with 2 and says so in plain text."""
    done = program(*arguments)

    assert done.returncode == 2
    assert text in done.stderr
    assert not set("│╭╮") & set(done.stderr)


def test_wrong_command_line_of_a_driver_is_told_to_the_operator(tmp_path: Path) -> None:
    """Even a command line that no run could begin with leaves an outcome."""
    outcome = tmp_path / "outcome"
    done = program("run", "--no-such-option", FLOWCLUSTER_OUTCOME_PATH=str(outcome))
    told = json.loads(outcome.read_text())

    assert (done.returncode, told["reason"], told["exitCode"]) == (2, "InvalidCommand", 2)


def test_driver_stopped_while_it_imports(tmp_path: Path) -> None:
    """SIGTERM during the import of the flow's file is a cancellation, not a broken file."""
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
    """`--help` shows what there is."""
    done = program("--help")

    assert done.returncode == 0
    assert "run" in done.stdout
