"""The contract: what the driver writes can be read, and what is generated is what is committed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from flowcluster_api.crd import flow_run_crd, shared_cluster_crd
from flowcluster_api.driver import OUTCOME_LIMIT, Outcome, TaskCounts
from tools.generate import ROOT, generated


def test_outcome_is_equal_after_writing_and_parsing() -> None:
    """A driver writes it and the operator parses it."""
    sent = Outcome(
        state="Failed", reason="FlowFailed", message="no", exit_code=1, tasks=TaskCounts(3, 2, 1), result="[1]"
    )

    assert Outcome.from_json(sent.to_json()) == sent
    stored = dataclasses.replace(sent, result=None, result_url="s3://results/1.pickle")
    assert Outcome.from_json(stored.to_json()) == stored


@pytest.mark.parametrize("text", ["", "Traceback", "[]", "{}", '{"state": "Done"}', json.dumps("Completed")])
def test_invalid_outcome_is_refused(text: str) -> None:
    """A termination message can be the tail of a log, or any text of the user's program."""
    with pytest.raises(ValueError, match="not"):
        Outcome.from_json(text)


def test_long_outcome_fits_into_a_termination_message() -> None:
    """The kubelet cuts it at 4096 bytes, so the outcome omits the result, and then the end of the message."""
    sent = Outcome(state="Completed", reason="FlowCompleted", message="é" * 9000, exit_code=0, result="x" * 9000)
    text = sent.to_json()

    assert len(text.encode()) <= OUTCOME_LIMIT
    assert Outcome.from_json(text).reason == "FlowCompleted"
    assert Outcome.from_json(text).result_omitted


FILES = {str(path): text for path, text in generated().items()}


@pytest.mark.parametrize("path", FILES)
def test_generated_files_are_up_to_date(path: str) -> None:
    """The CRD in manifests and chart is the one that the models give."""
    assert (ROOT / path).read_text() == FILES[path]


@pytest.mark.parametrize("crd", [flow_run_crd, shared_cluster_crd])
def test_status_schema_has_no_defaults(crd: Callable[[], dict[str, Any]]) -> None:
    """What the API server adds to a status, the operator takes for a change, and writes its own again and again."""
    (version,) = crd()["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"]

    assert _with_default(schema["spec"], "spec")
    assert _with_default(schema["status"], "status") == []


def _with_default(schema: dict[str, Any], path: str) -> list[str]:
    found = [path] if "default" in schema else []
    for name, child in schema.get("properties", {}).items():
        found += _with_default(child, f"{path}.{name}")
    return found + (_with_default(schema["items"], f"{path}[]") if "items" in schema else [])
