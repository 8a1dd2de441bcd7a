"""The values of the chart for a SharedCluster, made from its CRD."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from flowcluster_api.v1alpha1 import SharedClusterSpec
from tools import shared_values, versions

Schema = dict[str, Any]
#: Fields of a container's resources and of templates have the names of Kubernetes.
OPAQUE = ("requests", "limits", "template", "taskResources", "labels", "annotations", "resources", "global")


def leaves(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield the path and the schema of each value, with those of the items of lists."""
    for name, node in schema.get("properties", {}).items():
        here = f"{path}.{name}".removeprefix(".")
        yield here, node
        yield from leaves(node, here)
        if "items" in node:
            yield from leaves(node["items"], f"{here}[]")


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return value


def test_each_field_of_the_spec_is_a_value_of_that_name() -> None:
    fields = dict(leaves(shared_values.spec_schema()))
    values = dict(leaves(shared_values.values_schema()))

    assert len(fields) > 30
    assert fields.keys() <= values.keys()


def test_each_value_has_a_description_and_is_in_the_file() -> None:
    text = shared_values.values_text()
    values = yaml.safe_load(text)
    documented = {name: node for name, node in leaves(shared_values.values_schema()) if name != "global"}

    assert [name for name, node in documented.items() if not node.get("description")] == []
    for name in documented:
        if "[]" in name:
            continue
        found = values
        for part in name.split("."):
            assert part in found, name
            found = found[part]


def test_descriptions_name_values_and_no_fields_of_a_spec() -> None:
    assert "spec." not in shared_values.values_text()
    assert "`helm test`" in shared_values.values_text()


def test_object_of_the_schema_refuses_unknown_values() -> None:
    objects = {
        name: node
        for name, node in leaves(shared_values.values_schema())
        if node.get("type") == "object" and name.rpartition(".")[2] not in OPAQUE
    }

    assert {"workers", "scheduler", "test", "runtimeImage"} <= objects.keys()
    assert [name for name, node in objects.items() if node.get("additionalProperties") is not False] == []
    assert shared_values.values_schema()["additionalProperties"] is False


@pytest.mark.parametrize("name", ["image", "idleShutdownSeconds", "operatorClass", "workers.maximum"])
def test_value_can_be_null_when_the_field_can_be_absent(name: str) -> None:
    assert "null" in dict(leaves(shared_values.values_schema()))[name]["type"]


def test_defaults_of_the_chart_are_a_spec_that_grows() -> None:
    values = without_nulls(yaml.safe_load(shared_values.values_text()))
    own = {*shared_values.OWN, *shared_values.OWN_LATER}
    spec = SharedClusterSpec.model_validate({name: value for name, value in values.items() if name not in own})

    assert spec.workers is not None
    assert (spec.kind, spec.workers.minimum, spec.workers.maximum) == ("Dask", 0, 10)
    assert not spec.suspend


def test_document_that_names_the_archive_follows_the_version() -> None:
    assert versions.in_document("dist/flowcluster-shared-0.0.1.tgz", "2.3.4") == "dist/flowcluster-shared-2.3.4.tgz"
