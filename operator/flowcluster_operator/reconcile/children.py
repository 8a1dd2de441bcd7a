"""The present children of an owner: from the store, or from the API server where the store lacks them."""

from __future__ import annotations

from collections.abc import Mapping

from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.desired.metadata import controlling_lease, has_root_name, owned_by, root_name
from flowcluster_operator.errors import NotFound
from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.identity import RunId, name_and_uid
from flowcluster_operator.resources import CLUSTERS, JOB, LEASE, OWNERS, Object, Resource


def owned(store: Store, resource: Resource, key: RunId) -> Object | None:
    """Return the owner's object of that kind. The owner controls its Lease, and the Lease controls the others.

    The name must match, too: a driver can give its own Lease another owner. Objects of an earlier Lease do not count:
    they are being deleted, or the store does not know their end yet.
    """
    named = [obj for obj in store.children(key, resource) if has_root_name(resource, obj, key)]
    found = [obj for obj in named if _is_own(resource, obj, store, key)]
    return next((obj for obj in found if "deletionTimestamp" not in obj["metadata"]), found[0] if found else None)


def _is_own(resource: Resource, obj: Object, store: Store, key: RunId) -> bool:
    """Return whether an object has the controller that the operator gives to the run's object of that kind."""
    return owned_by(obj, key) if resource is LEASE else _is_of_lease(obj, store, key)


def _is_of_lease(obj: Object, store: Store, key: RunId) -> bool:
    """Return whether the owner's Lease controls an object."""
    if (owner := controlling_lease(obj)) is None or owner[0] != root_name(LEASE, key):
        return False
    lease = store.child(key, owner[1])
    return lease is not None and owned_by(lease, key) and name_and_uid(lease) == owner


def has_had_children(store: Store, key: RunId, status: Object) -> bool:
    """Return whether the run must have a Lease: it has objects that the Lease controls, or its status names some."""
    named = (status.get("cluster") or {}).get("name") or (status.get("flow") or {}).get("job")
    return bool(named) or any(store.children(key, resource) for resource in (*CLUSTERS, JOB))


async def confirm_lost(
    store: Store, kube: Kube, key: RunId, status: Object, named: Mapping[Resource, str | None], *, is_ending: bool
) -> None:
    """Read the Lease and the children that the status names before one that the store lacks counts as lost.

    A child that is being deleted can be that of an earlier Lease, while the watches have not reported the present one.
    So it is read, too.

    Args:
        store: the local copy of the API server's objects.
        kube: the client.
        key: the owner.
        status: as for `has_had_children`.
        named: by kind, the names in the status.
        is_ending: whether the owner's children are being deleted on purpose. Those that are being deleted do not have
            to be read then.
    """

    def is_there(resource: Resource) -> bool:
        known = owned(store, resource, key)
        return known is not None and (is_ending or "deletionTimestamp" not in known["metadata"])

    has_read = not is_there(LEASE) and has_had_children(store, key, status)
    if has_read:
        await confirm_gone(store, kube, LEASE, key, root_name(LEASE, key))
    for resource, name in named.items():
        if not name or is_there(resource) or await confirm_gone(store, kube, resource, key, name) is not None:
            continue
        known = None if has_read else owned(store, LEASE, key)
        if known is not None:
            has_read = True
            present = await confirm_gone(store, kube, LEASE, key, known["metadata"]["name"])
            if present is not None and name_and_uid(present) != name_and_uid(known):
                await confirm_gone(store, kube, resource, key, name)


def own_cluster(store: Store, key: RunId) -> Object | None:
    """Return the cluster resource of the owner, of any kind."""
    found = (owned(store, backend.resource, key) for backend in BACKENDS.values())
    return next((cluster for cluster in found if cluster is not None), None)


async def confirm_gone(store: Store, kube: Kube, resource: Resource, key: RunId, name: str) -> Object | None:
    """Read a child that the store may not have; None when it does not exist, or is not the owner's."""
    try:
        found = await kube.get(resource, key.namespace, name)
    except NotFound:
        return None
    if not _is_own(resource, found, store, key):
        return None  # another owner or another client has it
    store.put(resource, found)
    return found


async def read_owner(store: Store, kube: Kube, key: RunId) -> Object | None:
    """Return a FlowRun or SharedCluster from the store, or read it; None when it does not exist."""
    known = store.owner(key)
    return known if known is not None else await confirm_owner(store, kube, key)


async def confirm_owner(store: Store, kube: Kube, key: RunId) -> Object | None:
    """Read a FlowRun or SharedCluster, also if the store has it; None when it does not exist, or has another UID."""
    resource = OWNERS[key.kind]
    try:
        found = await kube.get(resource, key.namespace, key.name)
    except NotFound:
        found = None
    if found is None or found["metadata"]["uid"] != key.uid:
        store.forget_uses(key)
        store.remove(resource, key.uid, is_gone=True)
        return None
    store.put(resource, found)
    return found
