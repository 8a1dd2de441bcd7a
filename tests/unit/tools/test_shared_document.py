"""The document on shared clusters, as far as it can be checked without a Kubernetes."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from flowcluster_api import conditions, names
from flowcluster_api.v1alpha1 import FlowRunSpec, SharedClusterSpec
from tests.support.documents import steps
from tools.chart import SHARED_CHART
from tools.generate import ROOT

DOCUMENT = ROOT / "docs" / "shared-clusters.md"
STEPS = steps(DOCUMENT)
FILES = {step.file: step.text for step in STEPS if step.file is not None}


def test_document_has_commands_of_each_tool() -> None:
    commands = [step.text for step in STEPS if step.file is None]

    assert len(commands) > 15
    assert {command.split()[0] for command in commands} == {"helm", "kubectl", "flowcluster", "python"}


def test_file_is_there_before_a_command_uses_it() -> None:
    written: set[str] = set()
    for step in STEPS:
        if step.file is not None:
            written.add(step.file)
            continue
        used = set(re.findall(r"(?<![\w/.-])([\w-]+\.(?:py|yaml))\b", step.text))
        assert used <= written, step.text


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".py")])
def test_program_compiles(name: str) -> None:
    compile(FILES[name], name, "exec")


def test_manifests_and_values_are_valid() -> None:
    specs: dict[str, Any] = {names.KIND: FlowRunSpec, names.SHARED_KIND: SharedClusterSpec}
    checked = 0
    for text in re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL):
        for document in yaml.safe_load_all(text):
            if document.get("kind") in specs:
                specs[document["kind"]].model_validate(document["spec"])
            elif document.get("kind") != "ConfigMap":
                SharedClusterSpec.model_validate(document)  # values of the chart
            checked += 1
    assert checked == 3


def test_values_that_commands_set_are_those_of_the_chart() -> None:
    values = yaml.safe_load((SHARED_CHART / "values.yaml").read_text())
    for step in STEPS:
        for name in re.findall(r"--set '?([\w.]+)=", step.text):
            found = values
            for part in name.split("."):
                assert part in found, step.text
                found = found[part]


def test_document_names_each_phase() -> None:
    (table,) = re.findall(r"\| phase \|.*?\n\n", DOCUMENT.read_text(), re.DOTALL)

    assert set(re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:] if row))) == set(
        conditions.SHARED_PHASES
    )
