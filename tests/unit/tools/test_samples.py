"""The manifests of `manifests/samples`, as the API's models read them."""

from __future__ import annotations

import ast
from typing import Any

import pytest
import yaml

from flowcluster_api import names
from flowcluster_api.v1alpha1 import FlowRunSpec, SharedClusterSpec
from tools.generate import ROOT

SAMPLES = sorted((ROOT / "manifests" / "samples").glob("*.yaml"))
SPECS: dict[str, Any] = {names.KIND: FlowRunSpec, names.SHARED_KIND: SharedClusterSpec}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "manifests" / "samples" / f"{name}.yaml").read_text()))


@pytest.mark.parametrize("name", [path.stem for path in SAMPLES])
def test_sample_has_valid_specs_and_code(name: str) -> None:
    found = documents(name)

    assert {item["kind"] for item in found} <= {"ConfigMap", *SPECS}
    code = {item["metadata"]["name"]: item["data"] for item in found if item["kind"] == "ConfigMap"}
    for item in found:
        if item["kind"] in SPECS:
            SPECS[item["kind"]].model_validate(item["spec"])
        if item["kind"] == names.KIND:
            file, _, function = item["spec"]["flow"]["entrypoint"].partition(":")
            tree = ast.parse(code[item["spec"]["flow"]["source"]["configMap"]["name"]][file])
            assert function in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("name", ["shared-dask", "shared-ray"])
def test_runs_of_a_sample_use_its_shared_cluster(name: str) -> None:
    found = documents(name)
    (shared,) = [item for item in found if item["kind"] == names.SHARED_KIND]
    runs = [FlowRunSpec.model_validate(item["spec"]) for item in found if item["kind"] == names.KIND]

    assert shared["metadata"]["name"] == name
    assert len(runs) == 2
    assert all(run.cluster and run.cluster.uses_shared and run.cluster.ref for run in runs)
    assert {run.cluster.ref.name for run in runs if run.cluster and run.cluster.ref} == {name}


def test_shared_samples_differ_in_nothing_but_the_kind() -> None:
    dask, ray = (
        yaml.safe_dump_all(documents(f"shared-{kind}")).replace(f"kind: {kind.capitalize()}", "kind: KIND")
        for kind in ("dask", "ray")
    )

    assert dask.replace("shared-dask", "shared-ray") == ray
