"""Ask the API server whether anything of an owner exists that the store does not know."""

from __future__ import annotations

import asyncio

from flowcluster_api import names
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.desired.metadata import root_name
from flowcluster_operator.errors import NotFound
from flowcluster_operator.kube import Kube
from flowcluster_operator.model import Key
from flowcluster_operator.resources import (
    ACCESS,
    DASK_CLUSTER,
    DASK_WORKER_GROUP,
    LEASE,
    POD,
    ROOTS,
    WATCHED,
    Object,
    Resource,
)  # fmt: skip
from flowcluster_operator.store import Store

#: What is listed: pods, and what dask-kubernetes creates too late. The store knows the rest from its watches.
_LISTED = (POD, DASK_WORKER_GROUP)


def known_left(store: Store, key: Key) -> bool:
    """Whether the store has an object of the owner besides itself."""
    return any(store.children(key, resource) for resource in (*WATCHED, *ACCESS))


async def nothing_left(store: Store, kube: Kube, key: Key, kind: str | None) -> bool:
    """Whether the API server has nothing of the owner. What it has goes into the store.

    What the operator creates has names that follow from the owner's name and UID, so each takes one GET. What belongs
    to that is gone before, as the Lease is deleted in the foreground. What was there, and whose end the API server has
    reported, is not read again: only the operator creates it. No watch reports the end of the driver's rights.

    Args:
        store: what is known.
        kube: the client.
        key: the owner.
        kind: of the owner's cluster; None where it is not known to have had one.
    """
    if any(store.children(key, resource) for resource in WATCHED):
        return False
    others = [backend.resource for backend in BACKENDS.values() if kind is not None and backend.kind != kind]
    roots = [resource for resource in ROOTS[key.kind] if resource not in others and not store.is_gone(key, resource)]
    lists = [resource for resource in _LISTED if resource is POD or DASK_CLUSTER not in others]
    reads = [*(_root(kube, resource, key) for resource in roots), *(_list(kube, resource, key) for resource in lists)]
    for resource, items in zip((*roots, *lists), await asyncio.gather(*reads), strict=True):
        found = {item["metadata"]["uid"] for item in items}
        for known in store.children(key, resource) if resource in ACCESS else ():
            if known["metadata"]["uid"] not in found:
                store.remove(resource, known["metadata"]["uid"], is_gone=True)
        for item in items:
            store.put(resource, item)
    return not known_left(store, key)


async def _root(kube: Kube, resource: Resource, key: Key) -> list[Object]:
    try:
        found = await kube.get(resource, key.namespace, root_name(resource, key))
    except NotFound:  # also when the kind is not installed
        return []
    return [_labelled(found, key) if resource is LEASE else found]


def _labelled(lease: Object, key: Key) -> Object:
    """Return a Lease of the owner's name with the owner's labels, by which the store finds the owner.

    The driver can remove both labels and owners of its Lease.
    """
    meta, labels = lease["metadata"], {names.OWNER_LABELS[key.kind]: key.name, names.LABEL_RUN_UID: key.uid}
    return {**lease, "metadata": {**meta, "labels": {**(meta.get("labels") or {}), **labels}}}


async def _list(kube: Kube, resource: Resource, key: Key) -> list[Object]:
    try:
        found = await kube.list(resource, key.namespace, labels=f"{names.LABEL_RUN_UID}={key.uid}")
    except NotFound:  # the kind is not installed
        return []
    items: list[Object] = found["items"]
    return items
