"""Which fields of a FlowRun's spec can be edited, and when: one decision for each field, and the rules that follow.

Every edit either acts on the live run, or the API server refuses it and names the field. The CRD is generated from this
table: its CEL rules, and what `kubectl explain` prints.

A suspended run follows what users know from Jobs: the sizes and the placement of its pods can be edited, as nothing of
the run exists and all of it is created from the spec when the run resumes. What the run *is* stays: its record has
attempts and a story, which belong to that flow and that kind of cluster.
"""

from __future__ import annotations

import enum
import json
from typing import Any

from flowcluster_api import lease


class Edit(enum.Enum):
    """When a field can be edited. The value is the sentence that `kubectl explain` adds to its description."""

    ACTS = "An edit acts on the live run."
    #: While nothing of the run exists: before the operator starts it, and in the phase Suspended.
    SUSPENDED = "It cannot change while the run is live; it can while the run is suspended."
    #: A larger value at any time, a smaller one as with `SUSPENDED`.
    RAISED = "It can only be raised while the run is live."
    #: Until the operator has accepted the run.
    FIXED = "It cannot change once the run is accepted."
    #: Not even before: the operator of another class does not see the run, and cannot take it over.
    NEVER = "It cannot change."


#: By path, for every leaf of the spec. `flow.backoffLimit` and the bounds of workers are changed on the child objects;
#: the operator reads the other fields that act in each pass.
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
    "cluster.ref.name": Edit.FIXED,
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

#: What the absence of a field means, where the schema has no default.
_ABSENT: dict[str, Any] = {"leaseDurationSeconds": lease.DURATION}

_IS_ACCEPTED = "has(oldSelf.status) && has(oldSelf.status.phase)"
_IS_LIVE = f"{_IS_ACCEPTED} && oldSelf.status.phase != 'Suspended'"
_ARMED = {Edit.SUSPENDED: _IS_LIVE, Edit.RAISED: _IS_LIVE, Edit.FIXED: _IS_ACCEPTED, Edit.NEVER: "true"}
_MESSAGES = {
    Edit.SUSPENDED: "cannot change while the run is live: set spec.suspend and wait for the phase Suspended, or create "
    "another FlowRun",
    Edit.RAISED: "can only be raised while the run is live: its driver renews the Lease by the former value",
    Edit.FIXED: "cannot change once the run is accepted: delete the FlowRun and create another",
    Edit.NEVER: "cannot change: delete the FlowRun and create another",
}


def rules(schema: dict[str, Any]) -> list[dict[str, str]]:
    """Return the transition rules of the FlowRun, each with the message that names the field.

    Args:
        schema: the structural schema of the spec.
    """
    return [
        {
            "rule": f"!({_ARMED[edit]}) || ({_unchanged(path, edit, schema)})",
            "message": f"spec.{path} {_MESSAGES[edit]}",
        }
        for path, edit in EDITS.items()
        if edit is not Edit.ACTS
    ]


def explain(schema: dict[str, Any]) -> None:
    """Add to the description of each leaf of the spec's schema when it can be edited."""
    for path, edit in EDITS.items():
        leaf = _leaf(path, schema)
        if leaf is not None:
            leaf["description"] = f"{leaf['description']} {edit.value}"


def _unchanged(path: str, edit: Edit, schema: dict[str, Any]) -> str:
    """Return the CEL expression that holds while the field keeps its value.

    Where a default is known, its absence equals the default: the API server adds defaults to an object that an edit of
    another field creates.
    """
    leaf = _leaf(path, schema) or {}
    default = leaf.get("default", _ABSENT.get(path))
    if default is None:
        there, before = _has("self", path), _has("oldSelf", path)
        return f"({there}) == ({before}) && (!({there}) || self.spec.{path} == oldSelf.spec.{path})"
    values = [f"({_has(obj, path)} ? {obj}.spec.{path} : {json.dumps(default)})" for obj in ("self", "oldSelf")]
    return (" >= " if edit is Edit.RAISED else " == ").join(values)


def _has(obj: str, path: str) -> str:
    names = path.split(".")
    return " && ".join(f"has({obj}.spec.{'.'.join(names[: length + 1])})" for length in range(len(names)))


def _leaf(path: str, schema: dict[str, Any]) -> dict[str, Any] | None:
    node: dict[str, Any] | None = schema
    for name in path.split("."):
        node = (node or {}).get("properties", {}).get(name)
    return node
