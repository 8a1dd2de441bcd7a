"""Where the result of a flow in a pod goes."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import pytest


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
    sys.modules.pop("driver_outcomes")
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

    assert (told["reason"], told["exitCode"]) == ("InvalidResultStorage", 222)
    assert "nowhere://host/path" in told["message"]
    assert "secret" not in told["message"]
