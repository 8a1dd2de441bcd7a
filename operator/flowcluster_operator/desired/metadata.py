"""Names, labels and ownership of children: the one place that decides them."""

from __future__ import annotations

from flowcluster_api import names
from flowcluster_operator.model import Key
from flowcluster_operator.resources import Object


def child_metadata(key: Key, component: str) -> Object:
    """Metadata of a child object. The FlowRun is its controller: garbage collection needs no operator of ours."""
    return {
        "name": names.child_name(key.name, key.uid),
        "namespace": key.namespace,
        "labels": names.child_labels(key.name, key.uid, component),
        "ownerReferences": [owner_reference(key)],
    }


def owner_reference(key: Key) -> Object:
    """The reference that makes the FlowRun the controller of a child."""
    return {**names.reference(key.name, key.uid), "controller": True, "blockOwnerDeletion": True}


def owned_by(obj: Object, key: Key) -> bool:
    """Whether the run's FlowRun is the controller of `obj`."""
    owners = obj["metadata"].get("ownerReferences") or []
    return any(owner.get("uid") == key.uid and owner.get("controller") for owner in owners)
