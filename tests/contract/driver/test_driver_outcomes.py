"""The operator's driver, in this process: outcomes, and the messages for users."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.frames import sdk_frames


def test_completed_flow(drive: Any, flows: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The outcome has exit code 0, the counts of tasks, and the result as JSON."""
    outcome = drive(f"{flows}:greetings", 'names=["a","b"]')

    assert outcome == {
        "state": "Completed",
        "reason": "FlowCompleted",
        "message": "All states completed.",
        "exitCode": 0,
        "tasks": {"total": 2, "completed": 2, "failed": 0},
        "result": '["hello a","hello b"]',
    }
    assert "hello" in capfd.readouterr().out  # two tasks may print into each other


def parameters_file(folder: Path, text: str) -> dict[str, str]:
    """Return the environment of a driver whose parameters file contains this text."""
    file = folder / "parameters.json"
    file.write_text(text, encoding="utf-8" if text != "\xff" else "latin-1")
    return {"FLOWCLUSTER_PARAMETERS_PATH": str(file)}


def test_command_line_overrides_the_parameters_of_the_operator(drive: Any, flows: str, tmp_path: Path) -> None:
    given = parameters_file(tmp_path, '{"names": ["a"], "greeting": "not this"}')
    outcome = drive(f"{flows}:greetings", "greeting=hi", **given)

    assert outcome["result"] == '["hi a"]'


@pytest.mark.parametrize("text", ["{", "[1]", '"text"', "\xff"])
def test_driver_refuses_parameters_that_are_not_a_json_object(
    drive: Any, flows: str, tmp_path: Path, text: str
) -> None:
    outcome = drive(f"{flows}:greetings", **parameters_file(tmp_path, text))

    assert (outcome["reason"], outcome["exitCode"]) == ("InvalidParameters", 222)
    assert "parameters.json" in outcome["message"]


@pytest.mark.parametrize(
    "text",
    ["^[0-9]+$$", "runs/$(FLOWCLUSTER_RUN_NAME)/out", "${HOME} $HOME $", "grüße 日本 🚀", 'a"b\\', "line\nbreak"],
)
def test_parameters_reach_the_flow_as_they_are_in_the_file(drive: Any, flows: str, tmp_path: Path, text: str) -> None:
    given = parameters_file(tmp_path, json.dumps({"names": [text], "greeting": ""}, ensure_ascii=False))

    assert json.loads(drive(f"{flows}:greetings", **given)["result"]) == [f" {text}"]


@pytest.mark.parametrize(("code", "left"), [(2, 2), (222, 1), (3, 3)])
def test_flow_that_exits_does_not_look_like_one_that_did_not_start(
    drive: Any, tmp_path: Path, code: int, left: int
) -> None:
    """The Job starts no other pod after exit code 222, so a flow that exits with it gets another one."""
    file = tmp_path / "exits.py"
    file.write_text(f"import sys\nfrom flowcluster import flow\n@flow\ndef ends():\n    sys.exit({code})\n")
    outcome = drive(f"{file}:ends")

    assert (outcome["reason"], outcome["exitCode"]) == ("FlowExited", left)


def test_run_takes_its_name_from_the_operator(drive: Any, flows: str) -> None:
    """The flow run has the name of the FlowRun."""
    assert drive(f"{flows}:named", FLOWCLUSTER_RUN_NAME="report-x7")["result"] == '"report-x7"'


def test_async_flow_runs(drive: Any, flows: str) -> None:
    """The driver runs an async flow like a sync one."""
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
        ("interrupted_in_its_hook", ("Completed", "FlowCompleted", 0)),
        ("failed_and_interrupted_in_its_hook", ("Failed", "FlowFailed", 1)),
        ("stopped", ("Failed", "FlowFailed", 1)),
        ("late", ("Failed", "FlowFailed", 1)),
        ("greetings", ("Failed", "InvalidParameters", 222)),
        ("nothing", ("Failed", "EntrypointNotFound", 222)),
        ("function", ("Failed", "EntrypointNotFound", 222)),
    ],
)
def test_every_end_has_its_reason(drive: Any, flows: str, entrypoint: str, expected: tuple[str, str, int]) -> None:
    """State, reason and exit code are defined for each way in which a run can end."""
    outcome = drive(f"{flows}:{entrypoint}")

    assert (outcome["state"], outcome["reason"], outcome["exitCode"]) == expected


@pytest.mark.parametrize(
    ("entrypoint", "message"),
    [
        ("boom", "ValueError: no way (driver_outcomes.py:41 in boom)"),
        ("two_of_three", "1/3 states failed. The first: KeyError: 'lost key' (driver_outcomes.py:20 in bad)"),
        ("exits", "the flow called sys.exit(3)"),
        ("exits_in_task", "the flow called sys.exit(4)"),
        ("greetings", "Flow 'greetings': parameter 'names' is missing."),
        ("function", "'function' in FILE is not a flow but a function: decorate it with @flow."),
    ],
)
def test_message_is_one_sentence_for_users(
    drive: Any, flows: str, entrypoint: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The outcome and the last line of stderr name what failed and where."""
    outcome = drive(f"{flows}:{entrypoint}")

    assert outcome["message"] == message.replace("FILE", flows)
    assert capfd.readouterr().err.splitlines()[-1] == f"{outcome['reason']}: {outcome['message']}"


def test_counts_of_a_failed_flow(drive: Any, flows: str) -> None:
    """Task runs are counted by their final state."""
    assert drive(f"{flows}:two_of_three")["tasks"] == {"total": 3, "completed": 2, "failed": 1}


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
    """The reason is ImportFailed, and stderr has the traceback of the user's file without the SDK's frames."""
    file = tmp_path / "broken_file.py"
    file.write_text(source)
    outcome = drive(f"{file}:flow")
    errors = capfd.readouterr().err

    assert (outcome["reason"], outcome["exitCode"]) == (reason, 222)
    assert message in outcome["message"]
    assert sdk_frames(errors) == []


@pytest.mark.parametrize(
    ("entrypoint", "message"),
    [
        ("no/such/file.py:flow", "There is no file no/such/file.py"),
        ("no_such_package.module:flow", "There is no module no_such_package.module"),
        ("json:dumps", "'dumps' in json is not a flow but a function"),
        ("flows", "'flows' names no flow: write FILE.py:FUNCTION"),
    ],
)
def test_entrypoint_that_names_no_flow_is_refused(drive: Any, entrypoint: str, message: str) -> None:
    """The message differs for a missing file, a missing module, a missing name and an object of another kind."""
    outcome = drive(entrypoint)

    assert outcome["reason"] == "EntrypointNotFound"
    assert message in outcome["message"]


def test_flow_file_can_have_the_name_of_a_module(drive: Any, tmp_path: Path) -> None:
    """A flow file called json.py does not hide the module json from other modules, and can import its neighbours."""
    (tmp_path / "neighbour_of_json.py").write_text("WORD = 'next door'")
    (tmp_path / "json.py").write_text(
        "from flowcluster import flow\nfrom neighbour_of_json import WORD\n@flow\ndef f():\n    return WORD\n"
    )

    assert drive(f"{tmp_path}/json.py:f")["result"] == '"next door"'


@pytest.mark.parametrize(
    ("environment", "reason", "exit_code"),
    [
        ({"FLOWCLUSTER_CLUSTER_KIND": "Spark"}, "ClusterKindUnsupported", 222),
        ({"FLOWCLUSTER_CLUSTER_KIND": "Dask"}, "ClusterUnreachable", 222),
        (
            {
                "FLOWCLUSTER_CLUSTER_KIND": "Dask",
                "FLOWCLUSTER_CLUSTER_ADDRESS": "tcp://127.0.0.1:9",
            },
            "ClusterUnreachable",
            1,
        ),
        ({"FLOWCLUSTER_PARAMETERS_PATH": "/no/such/file"}, "InvalidParameters", 222),
    ],
)
def test_driver_reports_an_environment_that_it_cannot_use(
    drive: Any,
    flows: str,
    environment: dict[str, str],
    reason: str,
    exit_code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An unknown kind of cluster, an address where no scheduler answers, and parameters that are not JSON."""
    monkeypatch.setenv("FLOWCLUSTER_CLUSTER_TIMEOUT", "0.1")
    outcome = drive(f"{flows}:named", **environment)

    assert (outcome["reason"], outcome["exitCode"]) == (reason, exit_code)


def test_cluster_of_the_operator_replaces_the_flows_runner(drive: Any, flows: str, cluster: Any) -> None:
    """The top-level flow uses the run's cluster, a subflow its own runner. The workers get the code of the file."""
    outcome = drive(
        f"{Path(flows).with_name('on_cluster.py')}:parent",
        FLOWCLUSTER_CLUSTER_KIND="Dask",
        FLOWCLUSTER_CLUSTER_ADDRESS=cluster.scheduler_address,
    )
    on_cluster, in_child = json.loads(outcome["result"])

    assert on_cluster != os.getpid() == in_child
