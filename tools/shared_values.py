"""Values of the chart `flowcluster-shared`, made from the CRD of SharedCluster: their schema, and values.yaml.

The values of the cluster have the names of the fields of `spec`, so that the chart, `kubectl explain` and the documents
use the same names. A field that is added to the model becomes a value of the chart.
"""

from __future__ import annotations

import json
import textwrap
from typing import Any

import yaml

from flowcluster_api.crd import shared_cluster_crd

Schema = dict[str, Any]

_COLUMNS = 110
#: Keywords of a structural schema that JSON schema has too.
_KEPT = (
    "type", "description", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
    "maxProperties", "required",
)  # fmt: skip
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}

#: Values that are not fields of the spec. Templates of the chart read them by name.
OWN: dict[str, Schema] = {
    "name": {
        "type": "string",
        "pattern": "^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$",
        "description": "Name of the SharedCluster. Empty: the name of the release.",
    },
    "labels": {**_TEXTS, "description": "Labels of the SharedCluster."},
    "annotations": {**_TEXTS, "description": "Annotations of the SharedCluster."},
}
OWN_LATER: dict[str, Schema] = {
    "runtimeImage": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "repository": {"type": "string", "minLength": 1, "description": "Name without a tag."},
            "tag": {"type": "string", "description": "Empty: the appVersion of the chart."},
        },
        "description": "Image of the pod that `helm test` starts, where the value image is null. It needs the Python "
        "and the Dask or Ray of the cluster, so give the runtime image that the administrator set.",
    },
    "test": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "timeoutSeconds": {
                "type": "integer",
                "minimum": 1,
                "description": "Seconds for a task on the cluster. A cluster that was shut down starts in this time.",
            },
            "resources": {"type": "object", "description": "Requests and limits of the pod."},
            "imagePullSecrets": {
                "type": "array",
                "items": {"type": "object", "required": ["name"]},
                "description": "Secrets for the image of the pod, as in a pod.",
            },
        },
        "description": "The pod that `helm test` starts. It runs a task on the cluster.",
    },
}
#: Defaults of the chart: what the CRD requires, and a cluster that scales up.
_DEFAULTS: Schema = {
    "name": "",
    "labels": {},
    "annotations": {},
    "kind": "Dask",
    "workers": {"maximum": 10},
    "runtimeImage": {"repository": "docker.io/flowcluster/runtime", "tag": ""},
    "test": {"timeoutSeconds": 600, "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}}},
}
_HEADER = (
    "# Made from sdk/flowcluster_api/v1alpha1/shared.py and tools/shared_values.py by `make generate`. Change those.\n"
)


def spec_schema() -> Schema:
    """Return the structural schema of the spec of a SharedCluster."""
    (version,) = shared_cluster_crd()["spec"]["versions"]
    schema: Schema = _of_chart(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    return schema


def _of_chart(node: Any) -> Any:
    """Return a schema whose descriptions name values of the chart instead of fields of the spec."""
    if isinstance(node, dict):
        return {
            name: value.replace("spec.", "") if name == "description" and isinstance(value, str) else _of_chart(value)
            for name, value in node.items()
        }
    return [_of_chart(item) for item in node] if isinstance(node, list) else node


def values_schema() -> Schema:
    """Return the JSON schema of the chart's values."""
    spec = _converted(spec_schema())
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": False,
        "required": spec["required"],
        "properties": {"global": {"type": "object"}, **OWN, **spec["properties"], **OWN_LATER},
    }


def schema_text() -> str:
    """Return the text of values.schema.json."""
    return json.dumps(values_schema(), indent=2) + "\n"


def values_text() -> str:
    """Return the text of values.yaml: each value with its default, below its description."""
    parts = [_HEADER]
    for values in (OWN, spec_schema()["properties"], OWN_LATER):
        parts += [_value(name, node, _DEFAULTS.get(name), 0) for name, node in values.items()]
    return "\n".join(parts)


def _converted(node: Schema) -> Schema:
    """Return JSON schema for a node of a structural schema. It refuses unknown fields, except those of templates."""
    if node.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"], "pattern": node["pattern"]}
    out: Schema = {name: value for name, value in node.items() if name in _KEPT}
    if node.get("x-kubernetes-list-type") == "set":
        out["uniqueItems"] = True
    if "properties" in node:
        required = node.get("required", [])
        out["additionalProperties"] = False
        out["properties"] = {name: _field(child, name in required) for name, child in node["properties"].items()}
    elif isinstance(node.get("additionalProperties"), dict):
        out["additionalProperties"] = _converted(node["additionalProperties"])
    if "items" in node:
        out["items"] = _converted(node["items"])
    return out


def _field(node: Schema, is_required: bool) -> Schema:
    """Return JSON schema for a field. A scalar that can be absent is null then, so that values.yaml can list it."""
    out = _converted(node)
    if is_required or "default" in node or out["type"] in ("object", "array"):
        return out
    if "enum" in out:
        out["enum"] = [*out["enum"], None]
    return {**out, "type": [out["type"], "null"]}


def _value(name: str, node: Schema, default: Any, depth: int) -> str:
    margin = "  " * depth
    comment = textwrap.fill(
        node.get("description", ""),
        _COLUMNS,
        initial_indent=f"{margin}# ",
        subsequent_indent=f"{margin}# ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    lines = [comment] if node.get("description") else []
    fields = node.get("properties")
    if fields:
        lines.append(f"{margin}{name}:")
        given = default or {}
        return "\n".join([*lines, *(_value(each, fields[each], given.get(each), depth + 1) for each in fields)]) + (
            "" if depth else "\n"
        )
    if default is None:
        default = node.get("default", {"object": {}, "array": []}.get(node["type"]))
    text = yaml.safe_dump(default, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
    return "\n".join([*lines, f"{margin}{name}: {text}"]) + ("" if depth else "\n")
