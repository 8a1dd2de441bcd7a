"""The fields of FlowRun and SharedCluster, from the schemas of their CRDs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flowcluster_api import names
from flowcluster_api.crd import flow_run_crd, shared_cluster_crd
from tools.docs.markdown import code, plain, table

Schema = dict[str, Any]
_CRDS = {names.KIND: flow_run_crd, names.SHARED_KIND: shared_cluster_crd}


def fields(name: str) -> str:
    """Return the fields of a part, such as ``FlowRun.spec``: a section for each field that has fields."""
    kind, _, part = name.partition(".")
    schema = _version(kind)["schema"]["openAPIV3Schema"]["properties"][part]
    return "\n\n".join(_sections(part, schema, "##"))


def columns(kind: str) -> str:
    """Return the columns that kubectl prints."""
    when = {0: "always", 1: "with `-o wide`"}
    rows = (
        (column["name"].upper(), code(column["jsonPath"]), when[column.get("priority", 0)])
        for column in _version(kind)["additionalPrinterColumns"]
    )
    return table(("column", "field", "shown"), rows)


def _version(kind: str) -> Schema:
    (version,) = _CRDS[kind]()["spec"]["versions"]
    found: Schema = version
    return found


def _sections(path: str, node: Schema, level: str) -> Iterator[str]:
    yield f"{level} {path}"
    if node.get("description"):
        yield plain(node["description"])
    children: Schema = node["properties"]
    required = node.get("required", ())
    yield table(
        ("field", "type", "meaning"),
        (
            (code(name), _type(child), _meaning(f"{path}.{name}", child, name in required))
            for name, child in children.items()
        ),
    )
    if node.get("x-kubernetes-validations"):
        rules = "\n".join(f"- {plain(rule['message'])}" for rule in node["x-kubernetes-validations"])
        yield f"The API server checks:\n\n{rules}"
    for name, child in children.items():
        if inner := _with_fields(child):
            yield from _sections(f"{path}.{name}{'[]' if child['type'] == 'array' else ''}", inner, "###")


def _with_fields(node: Schema) -> Schema | None:
    """Return the schema with the fields of a field: its own, or that of its items."""
    node = node.get("items", node)
    return node if "properties" in node else None


def _type(node: Schema) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "quantity"
    if node.get("type") == "array":
        return f"list of {_type(node['items'])}"
    values = node.get("additionalProperties")
    if isinstance(values, dict):
        return f"map of {_type(values)}"
    return " or ".join(code(value) for value in node["enum"]) if "enum" in node else str(node["type"])


def _meaning(path: str, node: Schema, is_required: bool) -> str:
    parts = [plain(node.get("description", ""))]
    if _with_fields(node):
        parts.append(f"See [{plain(path)}](#{_anchor(path)}).")
    if is_required:
        parts.append("Required.")
    if "default" in node:
        parts.append(
            f"Default: {code(str(node['default']).lower() if node['type'] == 'boolean' else str(node['default']))}."
        )
    least, most = node.get("minimum"), node.get("maximum")
    if least is not None and most is not None:
        parts.append(f"From {least:g} to {most:g}." if most < 1_000_000 else f"At least {least:g}.")
    return " ".join(part for part in parts if part)


def _anchor(path: str) -> str:
    """Return the anchor that Python-Markdown gives to the section of a field."""
    return "".join(each for each in path.lower() if each.isalnum())
