"""The CustomResourceDefinitions of FlowRun and SharedCluster, made from the pydantic models."""

from __future__ import annotations

from typing import Any, NamedTuple

from flowcluster_api import edits, names
from flowcluster_api.v1alpha1 import FlowRunSpec, FlowRunStatus, SharedClusterSpec, SharedClusterStatus
from flowcluster_api.v1alpha1.base import ApiModel

#: Keywords of a structural schema. All others of pydantic's JSON schema are dropped.
_KEPT = {
    "type", "description", "default", "enum", "format", "pattern", "minimum", "maximum", "minLength", "maxLength",
    "minItems", "maxItems", "maxProperties", "required", "anyOf",
}  # fmt: skip


def flow_run_crd() -> dict[str, Any]:
    """Return the CRD of FlowRun. The same models always give the same document."""
    return _crd(names.KIND, names.PLURAL, names.SHORT_NAME, _COLUMNS, _ROOTS[names.KIND])


def shared_cluster_crd() -> dict[str, Any]:
    """Return the CRD of SharedCluster."""
    return _crd(
        names.SHARED_KIND, names.SHARED_PLURAL, names.SHARED_SHORT_NAME, _SHARED_COLUMNS, _ROOTS[names.SHARED_KIND]
    )


def _crd(kind: str, plural: str, short_name: str, columns: list[dict[str, Any]], root: _Root) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short_name],
                "categories": ["flowcluster"],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": _root_schema(kind, root)},
                }
            ],
        },
    }


def _column(name: str, path: str, kind: str = "string", *, wide: bool = False) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
    return column | {"priority": 1} if wide else column


_COLUMNS = [
    _column("Phase", ".status.phase"),
    _column("Kind", ".status.cluster.kind"),
    _column("Workers", ".status.display.workers"),
    _column("Tasks", ".status.display.tasks"),
    _column("Age", ".metadata.creationTimestamp", "date"),
    _column("Reason", ".status.reason"),
    _column("Tasks-Running", ".status.flow.tasks.running", "integer", wide=True),
    _column("Tasks-Failed", ".status.flow.tasks.failed", "integer", wide=True),
    _column("Message", ".status.message", wide=True),
    _column("Address", ".status.cluster.address", wide=True),
    _column("Dashboard", ".status.cluster.dashboard", wide=True),
]


_SHARED_COLUMNS = [
    _column("Phase", ".status.phase"),
    _column("Kind", ".spec.kind"),
    _column("Workers", ".status.display.workers"),
    _column("Runs", ".status.runs", "integer"),
    _column("Age", ".metadata.creationTimestamp", "date"),
    _column("Reason", ".status.reason"),
    _column("Restarts", ".status.restarts", "integer", wide=True),
    _column("Message", ".status.message", wide=True),
    _column("Address", ".status.address", wide=True),
    _column("Dashboard", ".status.dashboard", wide=True),
]


class _Root(NamedTuple):
    """The sources of a kind's schema: its description, and the models of spec and status."""

    description: str
    spec: type[ApiModel]
    status: type[ApiModel]


_ROOTS = {
    names.KIND: _Root(
        "A run of a flow with a cluster of its own, which lives as long as the run.", FlowRunSpec, FlowRunStatus
    ),
    names.SHARED_KIND: _Root(
        "A cluster that many runs and clients share. It lives until it is deleted, and grows with their work.",
        SharedClusterSpec,
        SharedClusterStatus,
    ),
}


def _root_schema(kind: str, root: _Root) -> dict[str, Any]:
    spec = _structural(root.spec.model_json_schema(by_alias=True))
    fixed = edits.rules(spec, kind)
    edits.explain(spec, kind)
    named = {
        "rule": "self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        "message": "metadata.name must be a DNS label: at most 63 of a-z, 0-9 and '-'",
    }
    return {
        "description": root.description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": _without_defaults(_structural(root.status.model_json_schema(by_alias=True))),
        },
        "x-kubernetes-validations": [named, *fixed],
    }


def _without_defaults(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema without defaults.

    A default that the API server adds to a status would differ from what the operator wrote, and the operator would
    write it again and again.
    """
    result = {key: value for key, value in schema.items() if key != "default"}
    if "properties" in schema:
        result["properties"] = {name: _without_defaults(child) for name, child in schema["properties"].items()}
    if "items" in schema:
        result["items"] = _without_defaults(schema["items"])
    return result


def _structural(document: dict[str, Any]) -> dict[str, Any]:
    """Return a pydantic schema without references, titles, nulls and everything else that Kubernetes refuses."""
    definitions = document.get("$defs", {})

    def convert(node: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in node:
            target = definitions[node["$ref"].rsplit("/", 1)[1]]
            node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
            return convert(node)
        if "anyOf" in node and not node.get("x-kubernetes-int-or-string"):
            (only,) = [option for option in node["anyOf"] if option.get("type") != "null"]
            rest = {key: value for key, value in node.items() if key not in ("anyOf", "default")}
            return convert({**only, **rest})
        out = {key: value for key, value in node.items() if key in _KEPT or key.startswith("x-kubernetes-")}
        if "const" in node:
            out["enum"] = [node["const"]]
        if "properties" in node:
            out["properties"] = {name: convert(child) for name, child in node["properties"].items()}
        if "items" in node:
            out["items"] = convert(node["items"])
        extra = node.get("additionalProperties")
        if isinstance(extra, dict) and extra and "properties" not in node and not node.get(_PRESERVE):
            out["additionalProperties"] = convert(extra)
        if out.get("x-kubernetes-int-or-string"):
            out.pop("type", None)
        return out

    return convert(document)


_PRESERVE = "x-kubernetes-preserve-unknown-fields"
