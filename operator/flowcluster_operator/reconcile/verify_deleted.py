"""Verify with the API server that nothing of an owner exists, not even an object that the store does not know."""

from __future__ import annotations

import asyncio

from flowcluster_api import names
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.desired.metadata import root_name
from flowcluster_operator.errors import NotFound
from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import (
    ACCESS,
    DASK_CLUSTER,
    DASK_WORKER_GROUP,
    LEASE,
    POD,
    RAY_CLUSTER,
    ROOTS,
    WATCHED,
    Object,
    Resource,
)  # fmt: skip

#: Kinds that are listed by label: pods, objects that dask-kubernetes may create late, and RayClusters, whose names
#: follow from Leases that can be gone. The store knows other kinds from its watches.
_LISTED = (POD, DASK_WORKER_GROUP, RAY_CLUSTER)


def known_left(store: Store, key: RunId) -> bool:
    """Return whether the store has an object of the owner besides itself."""
    return any(store.children(key, resource) for resource in (*WATCHED, *ACCESS))


async def nothing_left(store: Store, kube: Kube, key: RunId, kind: str | None) -> bool:
    """Return whether the API server has nothing of the owner. Objects that it has go into the store.

    The names of most objects that the operator creates follow from the owner's name and UID, so each needs only one
    GET. The Lease is deleted in the foreground, so their dependents are deleted before them. The operator does not read
    an object again whose deletion the API server has reported: no other client creates it. The operator does not watch
    the driver's rights, so it learns of their deletion only here.

    Args:
        store: what is known.
        kube: the client.
        key: the owner.
        kind: of the owner's cluster; None where it is not known to have had one.
    """
    if any(store.children(key, resource) for resource in WATCHED):
        return False
    others = [backend.resource for backend in BACKENDS.values() if kind is not None and backend.kind != kind]
    left = [resource for resource in ROOTS[key.kind] if resource not in others and not store.is_gone(key, resource)]
    roots = [resource for resource in left if resource not in _LISTED]
    lists = [resource for resource in _LISTED if resource in left or _is_always_listed(resource, others)]
    reads = [*(_root(kube, resource, key) for resource in roots), *(_list(kube, resource, key) for resource in lists)]
    for resource, items in zip((*roots, *lists), await asyncio.gather(*reads), strict=True):
        found = {item["metadata"]["uid"] for item in items}
        for known in store.children(key, resource) if resource in ACCESS else ():
            if known["metadata"]["uid"] not in found:
                store.remove(resource, known["metadata"]["uid"], is_gone=True)
        for item in items:
            store.put(resource, item)
    return not known_left(store, key)


def _is_always_listed(resource: Resource, others: list[Resource]) -> bool:
    return resource is POD or (resource is DASK_WORKER_GROUP and DASK_CLUSTER not in others)


async def _root(kube: Kube, resource: Resource, key: RunId) -> list[Object]:
    try:
        found = await kube.get(resource, key.namespace, root_name(resource, key))
    except NotFound:  # also when the kind is not installed
        return []
    return [_labelled(found, key) if resource is LEASE else found]


def _labelled(lease: Object, key: RunId) -> Object:
    """Return a Lease that has the owner's name, with the labels by which the store finds the owner.

    The driver can remove both labels and owners of its Lease.
    """
    meta, labels = lease["metadata"], {names.OWNER_LABELS[key.kind]: key.name, names.LABEL_RUN_UID: key.uid}
    return {**lease, "metadata": {**meta, "labels": {**(meta.get("labels") or {}), **labels}}}


async def _list(kube: Kube, resource: Resource, key: RunId) -> list[Object]:
    try:
        found = await kube.list(resource, key.namespace, labels=f"{names.LABEL_RUN_UID}={key.uid}")
    except NotFound:  # the kind is not installed
        return []
    items: list[Object] = found["items"]
    return items
