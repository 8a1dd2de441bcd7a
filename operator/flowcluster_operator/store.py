"""What the operator saw last of each object, by the run it belongs to.

Filled by watch events, by answers to the operator's own writes (so that a pass never acts on a world
older than its last write) and by full listings, which correct what a broken watch missed.
"""

from __future__ import annotations

from collections.abc import Iterable

from flowcluster_api import names
from flowcluster_operator.model import Key
from flowcluster_operator.resources import FLOW_RUN, Object, Resource


def key_of(resource: Resource, obj: Object) -> Key | None:
    """The run that an object is or belongs to; None for an object that is none of ours."""
    meta = obj["metadata"]
    if resource is FLOW_RUN:
        return Key(meta["namespace"], meta["name"], meta["uid"])
    labels = meta.get("labels") or {}
    name, uid = labels.get(names.LABEL_RUN), labels.get(names.LABEL_RUN_UID)
    return Key(meta["namespace"], name, uid) if name and uid else None


def parent_reference(flow_run: Object) -> Object | None:
    """What refers to the FlowRun that owns this one; None for a run of its own."""
    owners: list[Object] = flow_run["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("kind") == names.KIND and _is_ours(owner)), None)


def _is_ours(owner: Object) -> bool:
    return str(owner.get("apiVersion")).partition("/")[0] == names.GROUP


class Store:
    """Objects by kind and UID, indexed by run. Not thread-safe: it lives on the event loop."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, Object]] = {}
        self._by_run: dict[Key, dict[str, Resource]] = {}
        self._beneath: dict[str, set[Key]] = {}

    def put(self, resource: Resource, obj: Object) -> Key | None:
        """Remember `obj` unless something newer is known; the key of its run."""
        key = key_of(resource, obj)
        if key is None:
            return None
        uid = obj["metadata"]["uid"]
        known = self._objects.setdefault(resource.kind, {}).get(uid)
        if known is None or _version(obj) >= _version(known):
            self._objects[resource.kind][uid] = obj
            self._by_run.setdefault(key, {})[uid] = resource
            if resource is FLOW_RUN and (parent := parent_reference(obj)):
                self._beneath.setdefault(parent["uid"], set()).add(key)
        return key

    def remove(self, resource: Resource, uid: str) -> Key | None:
        """Forget an object that is gone; the key of its run, if it was known."""
        obj = self._objects.get(resource.kind, {}).pop(uid, None)
        if obj is None:
            return None
        key = key_of(resource, obj)
        if key is not None and (members := self._by_run.get(key)) is not None:
            members.pop(uid, None)
            if not members:
                del self._by_run[key]
        if key is not None and resource is FLOW_RUN and (parent := parent_reference(obj)):
            siblings = self._beneath.get(parent["uid"], set())
            siblings.discard(key)
            if not siblings:
                self._beneath.pop(parent["uid"], None)
        return key

    def replace(self, resource: Resource, objects: Iterable[Object], version: int) -> set[Key]:
        """Make a full listing the truth for its kind; the keys of the runs in which something differed.

        `version` is the listing's resource version: what was written after it stays.
        """
        listed = {obj["metadata"]["uid"]: obj for obj in objects}
        known = self._objects.get(resource.kind, {})
        missed = [uid for uid, obj in known.items() if uid not in listed and _version(obj) <= version]
        changed = {self.remove(resource, uid) for uid in missed}
        for uid, obj in listed.items():
            if uid not in known or _version(obj) > _version(known[uid]):
                changed.add(self.put(resource, obj))
        return {key for key in changed if key is not None}

    def flow_run(self, key: Key) -> Object | None:
        """The FlowRun of that UID."""
        return self._objects.get(FLOW_RUN.kind, {}).get(key.uid)

    def children(self, key: Key, resource: Resource) -> list[Object]:
        """The run's objects of one kind, by name."""
        members = self._by_run.get(key, {})
        found = [self._objects[resource.kind][uid] for uid, kind in members.items() if kind is resource]
        return sorted(found, key=lambda obj: str(obj["metadata"]["name"]))

    def beneath(self, key: Key) -> list[Key]:
        """The runs that the run owns."""
        return sorted(self._beneath.get(key.uid, ()))

    def keys(self) -> list[Key]:
        """All runs of which anything is known."""
        return list(self._by_run)


def _version(obj: Object) -> int:
    """Resource versions grow within one kind: the API server guarantees that they compare as numbers."""
    return int(obj["metadata"].get("resourceVersion", 0))
