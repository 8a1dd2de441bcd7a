"""The manifests of `manifests/samples`, as the API's models read them."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest
import yaml

from flowcluster_api import names
from flowcluster_api.v1alpha1 import FlowRunSpec, SharedClusterSpec
from tools import demo
from tools.chart import SHARED_CHART
from tools.generate import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
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


def test_program_and_run_of_the_demo_name_the_cluster_that_it_installs() -> None:
    (run,) = [item for item in documents("greetings-shared") if item["kind"] == names.KIND]

    assert run["spec"]["cluster"]["ref"] == {"name": demo.SHARED}
    assert f'"name": "{demo.SHARED}"' in (ROOT / "examples" / "shared_dask.py").read_text()


def test_readme_lists_each_sample() -> None:
    listed = re.findall(r"\[([\w-]+)\]\(manifests/samples/\1\.yaml\)", README)

    assert sorted(listed) == sorted(path.stem for path in SAMPLES)


def test_manifests_of_the_readme_are_valid() -> None:
    found = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)]
    specs = [document.get("spec", document) for document in found]

    assert len(specs) == 2
    clusters = [FlowRunSpec.model_validate(spec).cluster for spec in specs]
    assert [cluster is not None and cluster.uses_shared for cluster in clusters] == [False, True]


def test_values_that_commands_of_the_readme_set_are_those_of_the_shared_chart() -> None:
    commands = re.findall(r"^\$ (helm install .* charts/flowcluster-shared.*)$", README, re.MULTILINE)
    values = yaml.safe_load((SHARED_CHART / "values.yaml").read_text())
    options = [option for command in commands for option in re.findall(r"--set (\S+)", command)]
    paths = [assignment.partition("=")[0].split(".") for option in options for assignment in option.split(",")]

    assert len(paths) >= 4
    for path in paths:
        found = values
        for part in path:
            assert part in found, path
            found = found[part]


def test_readme_of_the_shared_chart_names_each_value() -> None:
    text = (SHARED_CHART / "README.md").read_text(encoding="utf-8")
    values = yaml.safe_load((SHARED_CHART / "values.yaml").read_text())
    named = {
        name.partition(".")[0]
        for row in re.findall(r"^\| (`.*?) \|", text, re.M)
        for name in re.findall("`(.*?)`", row)
    }

    assert values.keys() <= named
