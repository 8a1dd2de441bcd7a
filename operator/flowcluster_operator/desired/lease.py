"""The Lease by which a driver that runs elsewhere shows that it lives."""

from __future__ import annotations

from flowcluster_api import names
from flowcluster_operator.desired.metadata import child_metadata
from flowcluster_operator.model import Key
from flowcluster_operator.resources import LEASE, Object


def lease_reference(lease: Object) -> Object:
    """Return the owner reference of what is deleted with the run's Lease, which stays until then."""
    return {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.kind,
        "name": lease["metadata"]["name"],
        "uid": lease["metadata"]["uid"],
        "blockOwnerDeletion": True,
    }


def lease(key: Key) -> Object:
    """A Lease that nobody has renewed yet."""
    return {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.kind,
        "metadata": child_metadata(key, names.COMPONENT_DRIVER),
        "spec": {},
    }
