"""Names, labels and ownership of children: the one place that decides them.

A run owns an object when a chain of *controller* owner references leads from the object to the FlowRun. All objects
of a chain are in one namespace, as Kubernetes demands. Labels prove nothing: anyone can copy them.
"""

from __future__ import annotations

from flowcluster_api import names
from flowcluster_operator.model import Key
from flowcluster_operator.resources import ACCESS, Object, Resource


def child_metadata(key: Key, component: str) -> Object:
    """Return the metadata of a child. The FlowRun is its controller: garbage collection needs no operator of ours."""
    return {
        "name": names.child_name(key.name, key.uid),
        "namespace": key.namespace,
        "labels": names.child_labels(key.name, key.uid, component),
        "ownerReferences": [owner_reference(key)],
    }


def root_name(resource: Resource, key: Key) -> str:
    """Return the name of the object of that kind that the run itself owns."""
    return (names.driver_name if resource in ACCESS else names.child_name)(key.name, key.uid)


def owner_reference(key: Key) -> Object:
    """Return the reference that makes the FlowRun the controller of a child."""
    return {**names.reference(key.name, key.uid), "controller": True, "blockOwnerDeletion": True}


def controller(obj: Object) -> Object | None:
    """Return the reference to the object that controls `obj`; None when no object does. There is at most one."""
    owners: list[Object] = obj["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller") is True), None)


def controlling_run(obj: Object) -> Key | None:
    """Return the run whose FlowRun is the direct controller of `obj`, which may be a FlowRun itself."""
    owner = controller(obj)
    if owner is None or owner.get("kind") != names.KIND:
        return None
    if str(owner.get("apiVersion")).partition("/")[0] != names.GROUP:
        return None
    return Key(obj["metadata"]["namespace"], owner["name"], owner["uid"])


def owned_by(obj: Object, key: Key) -> bool:
    """Whether the run's FlowRun is the direct controller of `obj`: namespace, name and UID agree."""
    return controlling_run(obj) == key
