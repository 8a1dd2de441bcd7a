"""Names, labels and ownership of children: only this module decides them.

An owner is a FlowRun or a SharedCluster. It owns an object when a chain of *controller* owner references leads from the
object to it. All objects of a chain are in one namespace, as Kubernetes requires. Labels prove nothing: any client can
copy them.

The owner controls its Lease, and the Lease controls all other objects that the operator creates. So one DELETE of the
Lease deletes the cluster, the driver or keeper, and its rights. The driver or keeper can change the Lease, so the Lease
proves nothing either: the name of an object, and that of the Lease which controls it, prove which owner the object has.
"""

from __future__ import annotations

from flowcluster_api import names
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import (
    ACCESS,
    DASK_WORKER_GROUP,
    DEPLOYMENT,
    LEASE,
    NETWORK_POLICY,
    RAY_CLUSTER,
    ROOTS,
    Object,
    Resource,
)  # fmt: skip

#: Suffixes of the names of a run's network policies.
POLICY_SUFFIXES = ("", "-parent", "-host")
#: Kinds whose objects have the name of the keeper of a shared cluster.
_OF_KEEPER = (*ACCESS, DEPLOYMENT)


def child_metadata(key: RunId, component: str) -> Object:
    """Return the metadata of a child, without its controller."""
    return {
        "name": names.child_name(key.name, key.uid),
        "namespace": key.namespace,
        "labels": names.child_labels(key.name, key.uid, component, key.kind),
    }


def root_name(resource: Resource, key: RunId, lease: str = "") -> str:
    """Return the name of the object of that kind which the operator creates for the owner.

    Args:
        resource: the kind.
        key: the owner.
        lease: UID of the Lease that controls the object. Only the name of a RayCluster depends on it.
    """
    if resource is RAY_CLUSTER:
        return names.ray_cluster_name(key.name, key.uid, lease)
    if key.kind == names.SHARED_KIND:
        return (names.keeper_name if resource in _OF_KEEPER else names.child_name)(key.name, key.uid)
    return (names.driver_name if resource in ACCESS else names.child_name)(key.name, key.uid)


def owner_reference(key: RunId) -> Object:
    """Return the reference that makes the FlowRun or SharedCluster the controller of a child."""
    return {**names.reference(key.name, key.uid, key.kind), "controller": True, "blockOwnerDeletion": True}


def lease_reference(lease: Object) -> Object:
    """Return the reference that makes the run's Lease the controller of a child. The Lease outlives the child."""
    return {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.kind,
        "name": lease["metadata"]["name"],
        "uid": lease["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controlled_by(body: Object, reference: Object) -> Object:
    """Return an object with the reference to its controller."""
    return {**body, "metadata": {**body["metadata"], "ownerReferences": [reference]}}


def controlled_by_lease(body: Object, key: RunId, lease: Object) -> Object:
    """Return an object of the owner as its Lease controls it: with the reference, and a RayCluster with its name."""
    if body["kind"] == RAY_CLUSTER.kind:
        name = root_name(RAY_CLUSTER, key, lease["metadata"]["uid"])
        body = {**body, "metadata": {**body["metadata"], "name": name}}
    return controlled_by(body, lease_reference(lease))


def has_root_name(resource: Resource, obj: Object, key: RunId) -> bool:
    """Return whether an object has the name that the operator gives to the owner's object of that kind."""
    _, lease = controlling_lease(obj) or ("", "")
    return bool(obj["metadata"]["name"] == root_name(resource, key, lease))


def controller(obj: Object) -> Object | None:
    """Return the reference to the object that controls `obj`; None when no object does."""
    owners: list[Object] = obj["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller") is True), None)


def controlling_run(obj: Object) -> RunId | None:
    """Return the run whose FlowRun is the direct controller of `obj`; `obj` may be a child run."""
    owner = controlling_owner(obj)
    return owner if owner is not None and owner.kind == names.KIND else None


def controlling_owner(obj: Object) -> RunId | None:
    """Return the owner that is the direct controller of `obj`."""
    owner = controller(obj)
    if owner is None or owner.get("kind") not in names.OWNER_LABELS:
        return None
    if str(owner.get("apiVersion")).partition("/")[0] != names.GROUP:
        return None
    return RunId(obj["metadata"]["namespace"], owner["name"], owner["uid"], owner["kind"])


def is_controlled_alike(obj: Object, other: Object) -> bool:
    """Return whether two objects have the same controller: kind, name and UID agree."""
    owner, other_owner = controller(obj), controller(other)
    if owner is None or other_owner is None:
        return False
    return all(owner.get(field) == other_owner.get(field) for field in ("kind", "name", "uid"))


def owned_by(obj: Object, key: RunId) -> bool:
    """Return whether the FlowRun or SharedCluster of that identity is the direct controller of `obj`."""
    return controlling_owner(obj) == key


def controlling_lease(obj: Object) -> tuple[str, str] | None:
    """Return the name and the UID of the Lease that controls `obj`; None when no Lease does."""
    owner = controller(obj)
    if owner is None or owner.get("kind") != LEASE.kind:
        return None
    return (owner["name"], owner["uid"]) if str(owner.get("apiVersion")).partition("/")[0] == LEASE.group else None


def owner_of(resource: Resource, obj: Object) -> RunId | None:
    """Return the owner of an object that the operator created: its direct controller, or that of its Lease."""
    return controlling_owner(obj) or _owner_of_lease(resource, obj)


def labelled_owners(obj: Object) -> list[RunId]:
    """Return the owners that the labels of an object name, at most one of each kind. They prove nothing."""
    meta = obj["metadata"]
    labels = meta.get("labels") or {}
    uid = labels.get(names.LABEL_RUN_UID)
    named = [(kind, labels.get(label)) for kind, label in names.OWNER_LABELS.items()]
    return [RunId(meta["namespace"], name, uid, kind) for kind, name in named if uid and name]


def _owner_of_lease(resource: Resource, obj: Object) -> RunId | None:
    """Return the owner whose Lease controls an object that the operator created.

    The object's name and that of its controller are the proof: both contain a hash of the UID that the labels name. The
    Lease itself proves nothing: its driver can change the references and labels of the Lease, but those of no other
    object.
    """
    if (lease := controlling_lease(obj)) is None:
        return None
    for key in labelled_owners(obj):
        is_named = obj["metadata"]["name"] in _names_of_lease(resource, key, obj, lease[1])
        if is_named and lease[0] == names.child_name(key.name, key.uid):
            return key
    return None


def _names_of_lease(resource: Resource, key: RunId, obj: Object, lease: str) -> list[str]:
    """Return the names that an object of that kind can have if the owner's Lease, with that UID, controls it."""
    if resource is NETWORK_POLICY:
        suffixes = POLICY_SUFFIXES if key.kind == names.KIND else ("",)
        return [f"{root_name(resource, key)}{suffix}" for suffix in suffixes]
    if resource is DASK_WORKER_GROUP and key.kind == names.SHARED_KIND:
        group = (obj["metadata"].get("labels") or {}).get(names.LABEL_WORKER_GROUP)
        return [names.group_name(names.child_name(key.name, key.uid), group)] if group else []
    return [root_name(resource, key, lease)] if resource in ROOTS[key.kind] and resource is not LEASE else []
