"""What the API server demands of the CEL rules in both CRDs, besides what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from flowcluster_api import names
from flowcluster_api.crd import flow_run_crd, shared_cluster_crd
from flowcluster_api.edits import DECISIONS, Edit
from flowcluster_api.v1alpha1.base import RESERVED, cel_field

Body = dict[str, Any]


def schema(crd: Body) -> Body:
    """The schema of the one version of a CRD."""
    (version,) = crd["spec"]["versions"]
    found: Body = version["schema"]["openAPIV3Schema"]
    return found


SCHEMAS = {names.KIND: schema(flow_run_crd()), names.SHARED_KIND: schema(shared_cluster_crd())}


def rules(node: Any) -> Iterator[str]:
    """All rules in a schema."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "x-kubernetes-validations":
                yield from (item["rule"] for item in value)
            else:
                yield from rules(value)


def leaf(kind: str, path: str) -> Body:
    """The schema of a field of the spec."""
    node: Body = SCHEMAS[kind]["properties"]["spec"]
    for name in path.split("."):
        node = node["properties"][name]
    return node


#: Fields whose values a rule compares.
COMPARED = [
    (kind, path)
    for kind, decisions in DECISIONS.items()
    for path, edit in decisions.items()
    if edit not in (Edit.ACTS, Edit.REPLACES)
]


@pytest.mark.parametrize("rule", [rule for each in SCHEMAS.values() for rule in rules(each)])
def test_rule_names_no_field_by_a_reserved_word(rule: str) -> None:
    assert set(re.findall(r"\.(\w+)", rule)).isdisjoint(RESERVED)


@pytest.mark.parametrize(("name", "written"), [("namespace", "__namespace__"), ("in", "__in__"), ("name", "name")])
def test_field_with_a_reserved_name_is_escaped(name: str, written: str) -> None:
    assert cel_field(name) == written


@pytest.mark.parametrize(("kind", "path"), COMPARED)
def test_field_that_a_rule_compares_is_bounded(kind: str, path: str) -> None:
    """The API server refuses a rule whose costs are unlimited. It knows nothing of the values of an opaque object."""
    node = leaf(kind, path)

    assert node["type"] not in ("string", "array") or node.keys() & {"maxLength", "maxItems", "enum"}
    assert "additionalProperties" not in node or "maxProperties" in node
