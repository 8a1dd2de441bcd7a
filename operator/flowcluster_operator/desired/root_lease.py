"""The root Lease of an owner: its driver or keeper renews it as a heartbeat, and it controls all other objects."""

from __future__ import annotations

from flowcluster_api import names
from flowcluster_operator.desired.metadata import child_metadata, controlled_by, owner_reference
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import LEASE, Object


def root_lease(key: RunId) -> Object:
    """Return a Lease that no driver has renewed yet."""
    body = {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.kind,
        "metadata": child_metadata(key, names.COMPONENT_DRIVER),
        "spec": {},
    }
    return controlled_by(body, owner_reference(key))
