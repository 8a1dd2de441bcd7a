"""When each field of a spec can be edited, and the CEL rules that enforce it.

Each edit either acts on the live run, or the API server refuses it and names the field. The CRDs are generated from the
tables in this module: their CEL rules, and the sentences that `kubectl explain` prints.

A suspended run follows the rules of a suspended Job: the sizes and the placement of its pods can be edited. Nothing of
the run exists then, and the operator creates all of it from the spec when the run resumes. The flow and the kind of
cluster stay: the attempts and the story in the run's record belong to them.
"""

from __future__ import annotations

import enum
import json
from typing import Any

from flowcluster_api import lease, names
from flowcluster_api.v1alpha1.base import cel_field


class Edit(enum.Enum):
    """When a field can be edited. The value is the sentence that `kubectl explain` adds to its description."""

    ACTS = "An edit acts on the live run."
    #: While nothing of the run exists: before the operator starts it, and in the phase Suspended.
    SUSPENDED = "It cannot change while the run is live; it can while the run is suspended."
    #: A larger value at any time; a smaller one when `SUSPENDED` allows it.
    RAISED = "It can only be raised while the run is live."
    #: Fields of a SharedCluster from which its pods are built.
    REPLACES = "An edit replaces the cluster, at the time that spec.upgrade sets."
    #: Until the operator has accepted the run.
    FIXED = "It cannot change once the run is accepted."
    #: Not even before the run is accepted: the operator of another class does not see the run, and cannot adopt it.
    NEVER = "It cannot change."


#: When each leaf of a FlowRun's spec can be edited, by its path. The operator writes an edit of `flow.backoffLimit` and
#: of the bounds of workers into the child objects. It reads the other fields with `ACTS` in each pass.
EDITS: dict[str, Edit] = {
    "flow.image": Edit.FIXED,
    "flow.entrypoint": Edit.FIXED,
    "flow.source.configMap.name": Edit.FIXED,
    "flow.parameters": Edit.FIXED,
    "flow.template": Edit.SUSPENDED,
    "flow.backoffLimit": Edit.ACTS,
    "cluster.kind": Edit.FIXED,
    "cluster.image": Edit.FIXED,
    "cluster.workers.minimum": Edit.ACTS,
    "cluster.workers.maximum": Edit.ACTS,
    "cluster.workers.threads": Edit.SUSPENDED,
    "cluster.workers.resources.requests": Edit.SUSPENDED,
    "cluster.workers.resources.limits": Edit.SUSPENDED,
    "cluster.workers.taskResources": Edit.SUSPENDED,
    "cluster.workers.template": Edit.SUSPENDED,
    "cluster.scheduler.resources.requests": Edit.SUSPENDED,
    "cluster.scheduler.resources.limits": Edit.SUSPENDED,
    "cluster.scheduler.template": Edit.SUSPENDED,
    "cluster.ref.kind": Edit.FIXED,
    "cluster.ref.name": Edit.FIXED,
    "cluster.ref.namespace": Edit.FIXED,
    # The keeper of the SharedCluster passes both on to the run's task runner.
    "cluster.ref.priority": Edit.ACTS,
    "cluster.ref.share.threads": Edit.ACTS,
    "operatorClass": Edit.NEVER,
    "startDeadlineSeconds": Edit.ACTS,
    "activeDeadlineSeconds": Edit.ACTS,
    "idleTimeoutSeconds": Edit.ACTS,
    # The driver renews its Lease by the duration that it started with: a smaller one would end a healthy run.
    "leaseDurationSeconds": Edit.RAISED,
    "ttlSecondsAfterFinished": Edit.ACTS,
    "suspend": Edit.ACTS,
    "cancel": Edit.ACTS,
}

#: The same for a SharedCluster; `[]` stands for each item of a list. The fields from which its pods are built can be
#: edited: the cluster does not end by itself, so there is no later time for such an edit.
SHARED_EDITS: dict[str, Edit] = {
    "kind": Edit.FIXED,
    "image": Edit.REPLACES,
    "workers.minimum": Edit.ACTS,
    "workers.maximum": Edit.ACTS,
    "workers.threads": Edit.REPLACES,
    "workers.resources.requests": Edit.REPLACES,
    "workers.resources.limits": Edit.REPLACES,
    "workers.taskResources": Edit.REPLACES,
    "workers.template": Edit.REPLACES,
    "workerGroups[].minimum": Edit.ACTS,
    "workerGroups[].maximum": Edit.ACTS,
    "workerGroups[].threads": Edit.REPLACES,
    "workerGroups[].resources.requests": Edit.REPLACES,
    "workerGroups[].resources.limits": Edit.REPLACES,
    "workerGroups[].taskResources": Edit.REPLACES,
    "workerGroups[].template": Edit.REPLACES,
    "workerGroups[].name": Edit.REPLACES,
    "scheduler.resources.requests": Edit.REPLACES,
    "scheduler.resources.limits": Edit.REPLACES,
    "scheduler.template": Edit.REPLACES,
    "suspend": Edit.ACTS,
    "idleShutdownSeconds": Edit.ACTS,
    "upgrade": Edit.ACTS,
    "allowedNamespaces": Edit.ACTS,
    "operatorClass": Edit.NEVER,
}

#: The two tables, by the kind of the object.
DECISIONS: dict[str, dict[str, Edit]] = {names.KIND: EDITS, names.SHARED_KIND: SHARED_EDITS}

#: The values that fields without a default in the schema have when they are absent.
_ABSENT: dict[str, Any] = {"leaseDurationSeconds": lease.DURATION}

_IS_ACCEPTED = "has(oldSelf.status) && has(oldSelf.status.phase)"
_IS_LIVE = f"{_IS_ACCEPTED} && oldSelf.status.phase != 'Suspended'"
_ARMED = {Edit.SUSPENDED: _IS_LIVE, Edit.RAISED: _IS_LIVE, Edit.FIXED: _IS_ACCEPTED, Edit.NEVER: "true"}
_MESSAGES = {
    Edit.SUSPENDED: "cannot change while the run is live: set spec.suspend and wait for the phase Suspended, or create "
    "another {kind}",
    Edit.RAISED: "can only be raised while the run is live: its driver renews the Lease by the former value",
    Edit.FIXED: "cannot change once the {noun} is accepted: delete the {kind} and create another",
    Edit.NEVER: "cannot change: delete the {kind} and create another",
}
_NOUNS = {names.KIND: "run", names.SHARED_KIND: "cluster"}


def rules(schema: dict[str, Any], kind: str = names.KIND) -> list[dict[str, str]]:
    """Return the CEL transition rules of a kind, each with a message that names the field.

    Args:
        schema: the structural schema of the spec.
        kind: FlowRun or SharedCluster.
    """
    return [
        {
            "rule": f"!({_ARMED[edit]}) || ({_unchanged(path, edit, schema)})",
            "message": f"spec.{path} {_MESSAGES[edit].format(kind=kind, noun=_NOUNS[kind])}",
        }
        for path, edit in DECISIONS[kind].items()
        if edit in _ARMED
    ]


def explain(schema: dict[str, Any], kind: str = names.KIND) -> None:
    """Add to the description of each leaf of a spec's schema a sentence about when it can be edited.

    Args:
        schema: the structural schema of the spec, which is changed.
        kind: FlowRun or SharedCluster.
    """
    for path, edit in DECISIONS[kind].items():
        leaf = _leaf(path, schema)
        if leaf is not None:
            leaf["description"] = f"{leaf['description']} {_sentence(edit, kind)}"


def _sentence(edit: Edit, kind: str) -> str:
    return edit.value.replace("live run", f"live {_NOUNS[kind]}").replace("the run ", f"the {_NOUNS[kind]} ")


def _unchanged(path: str, edit: Edit, schema: dict[str, Any]) -> str:
    """Return the CEL expression that is true while the field keeps its value.

    An absent field equals its default, where it has one: when an edit of another field creates the parent object, the
    API server adds the defaults to it.
    """
    leaf = _leaf(path, schema) or {}
    default = leaf.get("default", _ABSENT.get(path))
    if default is None:
        there, before = _has("self", path), _has("oldSelf", path)
        return f"({there}) == ({before}) && (!({there}) || {_value('self', path)} == {_value('oldSelf', path)})"
    values = [f"({_has(obj, path)} ? {_value(obj, path)} : {json.dumps(default)})" for obj in ("self", "oldSelf")]
    return (" >= " if edit is Edit.RAISED else " == ").join(values)


def _has(obj: str, path: str) -> str:
    parts = path.split(".")
    return " && ".join(f"has({_value(obj, '.'.join(parts[: length + 1]))})" for length in range(len(parts)))


def _value(obj: str, path: str) -> str:
    return ".".join((obj, "spec", *map(cel_field, path.split("."))))


def _leaf(path: str, schema: dict[str, Any]) -> dict[str, Any] | None:
    node: dict[str, Any] | None = schema
    for name in path.split("."):
        node = (node or {}).get("properties", {}).get(name.removesuffix("[]"))
        if name.endswith("[]"):
            node = (node or {}).get("items")
    return node
