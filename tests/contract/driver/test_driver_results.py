"""Where the driver in a pod writes the result of its flow."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("name", "why"), [("large", "more than 2048 bytes"), ("unspeakable", "cannot be written as JSON")]
)
def test_result_is_left_out_with_the_reason_when_the_record_cannot_hold_it(
    drive: Any, flows: str, name: str, why: str
) -> None:
    """A large result, or one that is not JSON, is left out of the outcome. The flow is still completed."""
    outcome = drive(f"{flows}:{name}")

    assert (outcome["reason"], "result" in outcome) == ("FlowCompleted", False)
    assert why in outcome["resultOmitted"]


def of_operator(storage: str) -> dict[str, str]:
    """Return the environment that the operator gives a driver whose results go to a storage."""
    return {
        "FLOWCLUSTER_RESULT_STORAGE": storage,
        "FLOWCLUSTER_RUN_NAME": "run",
        "FLOWCLUSTER_RUN_UID": "1-2",
        "FLOWCLUSTER_NAMESPACE": "team",
        "FLOWCLUSTER_LEASE_DURATION": "60",
        "FLOWCLUSTER_POD_NAME": "run-0",
    }


def test_result_goes_to_the_storage_that_was_named(drive: Any, flows: str, tmp_path: Path) -> None:
    """A result that does not fit the record is stored as a pickle, with the code of its class, at the outcome's URL."""
    outcome = drive(f"{flows}:point", **of_operator(f"file://{tmp_path}/results/"))
    file = tmp_path / "results" / "team-run-1-2.pickle"

    assert (outcome["reason"], outcome["resultUrl"]) == ("FlowCompleted", f"file://{file}")
    assert "resultOmitted" not in outcome
    sys.modules.pop("driver_outcomes")
    assert pickle.loads(file.read_bytes()).x == 3


def test_small_result_needs_no_storage(drive: Any, flows: str, tmp_path: Path) -> None:
    """The record has the result, and nothing is written to the storage."""
    outcome = drive(f"{flows}:named", **of_operator(str(tmp_path / "results")))

    assert outcome["result"] == '"run"'
    assert not (tmp_path / "results").exists()


def test_result_that_cannot_be_stored_fails_the_run(drive: Any, flows: str, tmp_path: Path) -> None:
    """A run whose result was to be stored is Failed when it is not stored."""
    (tmp_path / "file").touch()
    outcome = drive(f"{flows}:large", **of_operator(f"{tmp_path}/file"))

    assert (outcome["state"], outcome["reason"], outcome["exitCode"]) == ("Failed", "ResultNotStored", 1)
    assert f"{tmp_path}/file/team-run-1-2.pickle" in outcome["message"]


def test_storage_without_a_file_system_is_refused_before_the_flow_starts(drive: Any, flows: str) -> None:
    """A wrong URL is found before the flow runs, and the message does not contain its password."""
    outcome = drive(f"{flows}:large", **of_operator("nowhere://me:secret@host/path"))

    assert (outcome["reason"], outcome["exitCode"]) == ("InvalidResultStorage", 222)
    assert "nowhere://host/path" in outcome["message"]
    assert "secret" not in outcome["message"]
