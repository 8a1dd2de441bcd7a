"""The Lease by which a driver shows that it lives, and by which all other objects of the run are deleted."""

from __future__ import annotations

from flowcluster_api import names
from flowcluster_operator.desired.metadata import child_metadata, controlled_by, owner_reference
from flowcluster_operator.model import Key
from flowcluster_operator.resources import LEASE, Object


def lease(key: Key) -> Object:
    """Return a Lease that no driver has renewed yet."""
    body = {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.kind,
        "metadata": child_metadata(key, names.COMPONENT_DRIVER),
        "spec": {},
    }
    return controlled_by(body, owner_reference(key))
