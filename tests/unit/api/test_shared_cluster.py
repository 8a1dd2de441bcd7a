"""The contract of SharedCluster: its CRD, its decisions about edits, and what names one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pydantic
import pytest

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_api.crd import flow_run_crd, shared_cluster_crd
from flowcluster_api.edits import SHARED_EDITS, Edit
from flowcluster_api.v1alpha1 import Cluster, SharedClusterSpec
from tests.support.cel_rules import program

Body = dict[str, Any]
CRD = shared_cluster_crd()
(VERSION,) = CRD["spec"]["versions"]
SCHEMA: Body = VERSION["schema"]["openAPIV3Schema"]
SPEC: Body = SCHEMA["properties"]["spec"]
PART: Body = {
    "threads": 2, "taskResources": {"GPU": 1.0}, "template": {"spec": {}},
    "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}},
}  # fmt: skip
FULL: Body = {
    "kind": "Ray",
    "image": "x:1",
    "workers": {"minimum": 1, "maximum": 3, **PART},
    "workerGroups": [{"name": "gpu", "minimum": 0, "maximum": 2, **PART}],
    "scheduler": {"template": {"spec": {}}, "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}},
    "suspend": False,
    "idleShutdownSeconds": 600,
    "upgrade": "Now",
    "allowedNamespaces": ["team"],
    "operatorClass": "blue",
}


def leaves(schema: Body, path: str = "") -> Iterator[tuple[str, Body]]:
    """Yield the path and the schema of each field that holds a value; `[]` stands for the items of a list."""
    if properties := schema.get("properties"):
        for name, child in properties.items():
            yield from leaves(child, f"{path}.{name}" if path else name)
    elif "properties" in schema.get("items", {}):
        yield from leaves(schema["items"], f"{path}[]")
    else:
        yield path, schema


LEAVES = dict(leaves(SPEC))


def broken(spec: Body) -> list[str]:
    """Return the messages of the rules that a new spec breaks."""
    rules = SPEC["x-kubernetes-validations"]
    return [rule["message"] for rule in rules if program(rule["rule"]).execute({"self": spec}) is not True]


def refusals(old: Body, new: Body, phase: str | None) -> list[str]:
    """Return the messages by which the API server refuses an edit in that phase."""
    status = {"status": {"phase": phase}} if phase else {}
    variables = {"oldSelf": {"spec": old, **status}, "self": {"spec": new, **status}}
    rules = [rule for rule in SCHEMA["x-kubernetes-validations"] if "oldSelf" in rule["rule"]]
    return [rule["message"] for rule in rules if program(rule["rule"]).execute(variables) is not True]


def test_crd_has_the_short_name_and_the_columns() -> None:
    assert CRD["metadata"]["name"] == "sharedclusters.flowcluster.dev"
    assert CRD["spec"]["names"]["shortNames"] == ["fsc"]
    assert VERSION["subresources"] == {"status": {}}
    assert [column["name"] for column in VERSION["additionalPrinterColumns"] if "priority" not in column] == [
        "Phase", "Kind", "Workers", "Runs", "Age", "Reason"
    ]  # fmt: skip


def test_columns_show_fields_of_the_schema() -> None:
    for column in VERSION["additionalPrinterColumns"]:
        node, (part, *path) = SCHEMA, column["jsonPath"].strip(".").split(".")
        if part == "metadata":
            continue  # of every object
        for name in (part, *path):
            node = node["properties"][name]
        assert node["type"] == column["type"]


def test_every_leaf_of_the_schema_has_a_decision() -> None:
    assert set(SHARED_EDITS) == set(LEAVES)


@pytest.mark.parametrize("path", SHARED_EDITS)
def test_description_of_a_field_states_its_decision(path: str) -> None:
    description = LEAVES[path]["description"]

    assert any(
        description.endswith(sentence)
        for sentence in (SHARED_EDITS[path].value, SHARED_EDITS[path].value.replace("run", "cluster"))
    )
    assert "live run" not in description


@pytest.mark.parametrize("phase", [None, *c.SHARED_PHASES])
@pytest.mark.parametrize(("path", "new"), [("kind", "Dask"), ("operatorClass", "green"), ("operatorClass", None)])
def test_edit_of_a_fixed_field_is_refused_by_its_name(path: str, new: str | None, phase: str | None) -> None:
    edited = {name: value for name, value in {**FULL, path: new}.items() if value is not None}
    is_refused = phase is not None or SHARED_EDITS[path] is Edit.NEVER

    found = refusals(FULL, edited, phase)

    assert [message.split()[0] for message in found] == ([f"spec.{path}"] if is_refused else [])
    assert all("FlowRun" not in message and "run" not in message for message in found)


@pytest.mark.parametrize(
    "path", [path for path, edit in SHARED_EDITS.items() if edit in (Edit.ACTS, Edit.REPLACES) and "." not in path]
)
def test_edit_of_another_field_is_accepted_when_the_cluster_is_ready(path: str) -> None:
    edited = {name: value for name, value in FULL.items() if name != path}

    assert refusals(FULL, edited, "Ready") == []


def test_full_spec_is_valid_for_schema_and_model() -> None:
    assert broken(FULL) == []
    assert SharedClusterSpec.model_validate(FULL).worker_groups[0].name == "gpu"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"workerGroups": [{"name": "workers", "minimum": 0}]}, "reserved"),
        ({"workerGroups": [{"name": "gpu", "taskResources": {"GPU": 0.5}}]}, "whole numbers"),
        ({"workers": {"minimum": 0, "taskResources": {"GPU": 0.5}}}, "whole numbers"),
    ],
)
def test_spec_is_refused_with_its_field_when_a_rule_between_fields_is_broken(changes: Body, words: str) -> None:
    assert [words in message for message in broken({**FULL, **changes})] == [True]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "Spark"),
        ("idleShutdownSeconds", 9),
        ("upgrade", "Never"),
        ("allowedNamespaces", ["Team"]),
        ("workerGroups", [{"minimum": 1}]),
        ("workerGroups", [{"name": "GPU"}]),
    ],
)
def test_model_refuses_what_the_schema_refuses(field: str, value: Any) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        SharedClusterSpec.model_validate({**FULL, field: value})
    assert caught.value.errors()[0]["loc"][0] == field


def test_schema_of_groups_lists_them_by_name() -> None:
    groups = SPEC["properties"]["workerGroups"]

    assert groups["x-kubernetes-list-map-keys"] == ["name"]
    assert groups["items"]["required"] == ["name"]
    assert groups["items"]["x-kubernetes-validations"], "minimum must not exceed maximum"


def test_phases_that_follow_each_other_are_phases() -> None:
    assert set(c.SHARED_PHASE_MOVES) == set(c.SHARED_PHASES)
    assert {phase for moves in c.SHARED_PHASE_MOVES.values() for phase in moves} <= set(c.SHARED_PHASES)


@pytest.mark.parametrize("phase", c.SHARED_PHASES)
def test_every_phase_leads_to_ready(phase: str) -> None:
    reached, waiting = {phase}, [phase]
    while waiting:
        for following in c.SHARED_PHASE_MOVES[waiting.pop()] - reached:
            reached.add(following)
            waiting.append(following)

    assert "Ready" in reached


@pytest.mark.parametrize(
    ("cluster", "kind", "uses_shared"),
    [
        ({"ref": {"name": "a"}}, None, True),
        ({"ref": {"name": "a", "kind": "SharedCluster", "namespace": "b", "share": {"threads": 4}}}, None, True),
        ({"kind": "Dask", "ref": {"name": "a"}}, "Dask", False),
        ({"kind": "Ray", "ref": {"name": "a"}}, "Ray", False),
        ({"ref": {"name": "a", "kind": "DaskCluster"}}, "Dask", False),
        ({"ref": {"name": "a", "kind": "RayCluster"}}, "Ray", False),
        ({"kind": "Dask"}, "Dask", False),
    ],
)
def test_reference_names_a_shared_cluster_unless_a_kind_is_given(
    cluster: Body, kind: str | None, uses_shared: bool
) -> None:
    found = Cluster.model_validate(cluster)

    assert (found.kind, found.uses_shared) == (kind, uses_shared)
    assert Cluster.model_validate(found.model_dump(by_alias=True)) == found


def test_cluster_without_kind_and_reference_is_refused() -> None:
    with pytest.raises(pydantic.ValidationError, match="kind must be Dask or Ray"):
        Cluster.model_validate({"workers": {"minimum": 1}})


def cluster_rules() -> list[Body]:
    (version,) = flow_run_crd()["spec"]["versions"]
    cluster = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["cluster"]
    inner = [(rule, ("ref",)) for rule in cluster["properties"]["ref"]["x-kubernetes-validations"]]
    return [{"rule": rule, "path": ()} for rule in cluster["x-kubernetes-validations"]] + [
        {"rule": rule, "path": path} for rule, path in inner
    ]


def broken_by(cluster: Body) -> list[str]:
    """Return the messages of the CEL rules that a `spec.cluster` breaks."""
    found = []
    for item in cluster_rules():
        value: Any = copy.deepcopy(cluster)
        for name in item["path"]:
            value = value.get(name)
        if value is not None and program(item["rule"]["rule"]).execute({"self": value}) is not True:
            found.append(item["rule"]["message"])
    return found


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ({"ref": {"name": "a"}}, []),
        ({"ref": {"name": "a", "kind": "SharedCluster", "namespace": "b", "priority": 1}}, []),
        ({"kind": "Dask", "ref": {"name": "a"}}, []),
        ({"kind": "Dask", "ref": {"name": "a", "kind": "DaskCluster"}}, []),
        ({"kind": "Dask"}, []),
        ({}, ["kind must be"]),
        ({"kind": "Dask", "ref": {"name": "a", "kind": "RayCluster"}}, ["contradict"]),
        ({"kind": "Dask", "ref": {"name": "a", "kind": "SharedCluster"}}, ["contradict"]),
        ({"kind": "Dask", "ref": {"name": "a", "namespace": "b"}}, ["leave kind out"]),
        ({"ref": {"name": "a", "kind": "DaskCluster", "share": {"threads": 1}}}, ["are of a SharedCluster"]),
        ({"ref": {"name": "a"}, "image": "x"}, ["leave out image"]),
    ],
)
def test_rules_of_the_schema_refuse_contradictions_of_kind_and_reference(cluster: Body, words: list[str]) -> None:
    found = broken_by(cluster)

    assert [any(word in message for message in found) for word in words] == [True] * len(words)
    assert len(found) == len(words)


@pytest.mark.parametrize("group", ["gpu", "highmem", "a-group-with-a-long-name", "a-group-with-a-long-name2"])
def test_worker_of_a_group_has_a_name_that_is_a_label_value(group: str) -> None:
    cluster = names.child_name("analytics-of-the-whole-platform-team", "uid")

    assert len(f"{names.group_name(cluster, group)}-worker-{'0' * 10}") <= 63


def test_names_of_groups_differ_when_only_their_ends_differ() -> None:
    long = "a-group-with-a-long-name"

    assert names.group_name("x", long) != names.group_name("x", f"{long}2")
    assert names.group_name("x", "gpu") == "x-gpu"
