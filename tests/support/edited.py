"""Edits of every leaf of a FlowRun's spec, made from the CRD's schema."""

from __future__ import annotations

import copy
from typing import Any

from tests.support.chaos.mutations import Leaf, leaves

Body = dict[str, Any]
#: A spec that has every leaf, except for `cluster.ref`, which excludes most others.
FULL: Body = {
    "flow": {
        "image": "x:1", "entrypoint": "a.py:b", "source": {"configMap": {"name": "code"}}, "parameters": {"a": [1, {}]},
        "template": {"metadata": {"labels": {"a": "b"}}}, "backoffLimit": 1,
    },
    "cluster": {
        "kind": "Dask", "image": "x:2",
        "workers": {
            "minimum": 1, "maximum": 3, "threads": 2, "taskResources": {"GPU": 1}, "template": {"spec": {"a": "b"}},
            "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}},
        },
        "scheduler": {
            "template": {"spec": {"a": "b"}}, "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}},
        },
    },
    "startDeadlineSeconds": 100, "activeDeadlineSeconds": 1000, "idleTimeoutSeconds": 50, "leaseDurationSeconds": 100,
    "ttlSecondsAfterFinished": 10, "suspend": False, "cancel": False, "operatorClass": "blue",
}  # fmt: skip
#: A spec with the leaves that `FULL` lacks.
REFERRING: Body = {
    "flow": {"entrypoint": "a.py:b"},
    "cluster": {
        "ref": {
            "kind": "SharedCluster", "name": "shared", "namespace": "platform", "priority": 1, "share": {"threads": 4}
        }
    },
}  # fmt: skip
LEAVES: dict[str, Leaf] = {str(leaf).removeprefix("spec."): leaf for leaf in leaves()}


def valid(path: str) -> Body:
    """Return a valid spec that has the leaf."""
    return copy.deepcopy(REFERRING if path.startswith("cluster.ref") else FULL)


def value(spec: Body, path: str) -> Any:
    """Return the value of a leaf; None where the spec lacks it."""
    node: Any = spec
    for name in path.split("."):
        node = (node or {}).get(name)
    return node


def changed(spec: Body, path: str, *, larger: bool = True) -> Body:
    """Return the spec with another valid value of the leaf: of a number, a larger one or a smaller one."""
    return with_value(spec, path, _other(LEAVES[path], value(spec, path), larger=larger))


def with_value(spec: Body, path: str, new: Any) -> Body:
    """Return the spec with this value of the leaf; None removes it."""
    spec = copy.deepcopy(spec)
    *parents, name = path.split(".")
    node = spec
    for parent in parents:
        node = node.setdefault(parent, {})
    node[name] = new
    if new is None:
        del node[name]
    return spec


def _other(leaf: Leaf, known: Any, *, larger: bool) -> Any:
    schema = leaf.schema
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return {**known, "metadata": {"labels": {"other": "x"}}}  # valid in templates, and a parameter like any other
    if "additionalProperties" in schema:
        return {**known, "memory": 1}
    if "enum" in schema:
        return next(word for word in schema["enum"] if word != known)
    if schema["type"] == "boolean":
        return not known
    if schema["type"] == "integer":
        return known + (1 if larger else -1)
    return f"other{known}"
