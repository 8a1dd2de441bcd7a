"""The owner of a request: the run or shared cluster that the operator reconciles when it writes."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from flowcluster_api import names
from tests.support.rig.kinds import OWNERS


@dataclasses.dataclass(frozen=True, order=True)
class Owner:
    """A FlowRun or a SharedCluster, by the name of its kind and its UID."""

    kind: str
    uid: str


class OwnerBook:
    """Finds the owner of a request.

    An object is named after its owner. So the book remembers those that a body names: the first write for an owner is
    that of its status.
    """

    def __init__(self) -> None:
        self._stems: dict[str, Owner] = {}

    def owner_of(self, path: str, body: bytes) -> Owner | None:
        """Return the owner for which a request is made; None when it is not known.

        Args:
            path: without query.
            body: of the request.
        """
        parsed: Any = json.loads(body) if body else None
        named = _named(path, parsed if isinstance(parsed, dict) else {})
        if named is None:
            return next((owner for stem, owner in self._stems.items() if f"/{stem}" in path), None)
        name, owner = named
        self._stems[names.child_name(name, owner.uid)] = owner
        return owner


def _named(path: str, body: dict[str, Any]) -> tuple[str, Owner] | None:
    """Return the owner that a body names, and its name."""
    meta: dict[str, Any] = body.get("metadata") or {}
    about: dict[str, Any] = body.get("involvedObject") or {}
    if about:
        return about["name"], Owner(about["kind"], about["uid"])
    if body.get("kind") in names.OWNER_LABELS and "uid" in meta:
        return meta["name"], Owner(body["kind"], meta["uid"])
    labels: dict[str, str] = meta.get("labels") or {}
    for kind, label in names.OWNER_LABELS.items():
        if label in labels:
            return labels[label], Owner(kind, labels[names.LABEL_RUN_UID])
    # The record itself is deleted when its time is over.
    for owners in OWNERS:
        name = path.rpartition(f"/{owners.plural}/")[2]
        if name != path and "/" not in name and "preconditions" in body:
            return name, Owner(owners.name, body["preconditions"]["uid"])
    return None
