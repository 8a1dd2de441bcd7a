"""Every field of a FlowRun's spec has a decision about edits, and the CRD's rules follow it."""

from __future__ import annotations

from typing import Any

import pytest

from flowcluster_api.crd import flow_run_crd
from flowcluster_api.edits import EDITS, Edit
from tests.support.cel_rules import program
from tests.support.edited import LEAVES, changed, valid, value, with_value

(_VERSION,) = flow_run_crd()["spec"]["versions"]
_SCHEMA = _VERSION["schema"]["openAPIV3Schema"]
RULES = [rule for rule in _SCHEMA["x-kubernetes-validations"] if "oldSelf" in rule["rule"]]
#: Phases of a run; None before the operator has seen it.
PHASES = (None, "Suspended", "Starting", "Running", "Stopping", "Succeeded")
#: The decisions that the API server enforces in these phases.
ENFORCED: dict[str | None, set[Edit]] = {
    phase: {Edit.NEVER}
    if phase is None
    else {Edit.FIXED, Edit.NEVER}
    if phase == "Suspended"
    else {*Edit} - {Edit.ACTS}
    for phase in PHASES
}
FIXED = [path for path, edit in EDITS.items() if edit is not Edit.ACTS]


def refusals(old: dict[str, Any], new: dict[str, Any], phase: str | None) -> list[str]:
    """Return the messages by which the API server refuses this edit of a run in that phase."""
    status = {} if phase is None else {"status": {"phase": phase}}
    variables = {"oldSelf": {"spec": old, **status}, "self": {"spec": new, **status}}
    return [rule["message"] for rule in RULES if program(rule["rule"]).execute(variables) is not True]


def test_every_leaf_of_the_schema_has_a_decision() -> None:
    assert set(EDITS) == set(LEAVES)


@pytest.mark.parametrize("path", EDITS)
def test_description_of_a_field_states_its_decision(path: str) -> None:
    node = _SCHEMA["properties"]["spec"]
    for name in path.split("."):
        node = node["properties"][name]

    assert node["description"].endswith(EDITS[path].value)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("path", EDITS)
def test_edit_is_refused_by_the_name_of_its_field_only_when_the_decision_holds(path: str, phase: str | None) -> None:
    old = valid(path)
    found = refusals(old, changed(old, path, larger=False), phase)

    assert [message.split()[0] for message in found] == ([f"spec.{path}"] if EDITS[path] in ENFORCED[phase] else [])


@pytest.mark.parametrize("path", FIXED)
def test_removal_of_a_fixed_field_is_refused_when_the_run_is_live(path: str) -> None:
    """What remains is the default, which differs."""
    old = valid(path)
    found = refusals(old, with_value(old, path, None), "Running")

    assert [message.split()[0] for message in found] == [f"spec.{path}"]


@pytest.mark.parametrize("path", FIXED)
def test_addition_of_a_fixed_field_is_refused_when_the_run_is_live(path: str) -> None:
    new = valid(path)
    found = refusals(with_value(new, path, None), new, "Running")
    is_raised = EDITS[path] is Edit.RAISED

    assert [message.split()[0] for message in found] == ([] if is_raised else [f"spec.{path}"])


@pytest.mark.parametrize("path", [path for path in EDITS if EDITS[path] is Edit.RAISED])
def test_raise_of_a_field_that_can_be_raised_is_accepted_when_the_run_is_live(path: str) -> None:
    old = valid(path)

    assert refusals(old, changed(old, path), "Running") == []


def test_workers_that_an_edit_adds_are_accepted_with_their_defaults() -> None:
    """The API server adds the defaults of all fields to an object that an edit of its maximum creates."""
    old = {"flow": {"entrypoint": "a.py:b"}, "cluster": {"kind": "Dask"}}
    new = with_value(old, "cluster.workers", {"minimum": 0, "maximum": 3, "threads": 1})

    assert refusals(old, new, "Running") == []


@pytest.mark.parametrize("part", ["flow", "cluster", "cluster.workers", "cluster.scheduler"])
def test_removal_of_a_part_is_refused_when_the_run_is_live(part: str) -> None:
    old = valid("flow.image")
    found = refusals(old, with_value(old, part, None), "Running")

    assert found
    assert all(message.startswith(f"spec.{part}.") for message in found)


def test_specs_of_the_tests_have_every_leaf() -> None:
    assert [path for path in EDITS if value(valid(path), path) is None] == []
