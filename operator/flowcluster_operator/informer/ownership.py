"""The owner of each object: a FlowRun or a SharedCluster. Names such as `run` stand for both in this module.

An object belongs to an owner when its chain of controller owner references ends there, in the same namespace. The
objects of a chain arrive in any order: the one that completes the chain proves the owner of all objects below it. The
object keeps its owner when the chain breaks later, since garbage collection removes objects and
`kubectl delete --cascade=orphan` removes references. It loses its owner when another object becomes its controller.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from flowcluster_api import names
from flowcluster_operator.desired.metadata import controller, labelled_owners, owner_of
from flowcluster_operator.informer.versions import version_of
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import DASK_WORKER_GROUP, LEASE, OWNERS, ROOTS, Object, Resource


class Entry(NamedTuple):
    """An object, and its kind."""

    resource: Resource
    obj: Object

    @property
    def uid(self) -> str:
        """UID of the object."""
        return str(self.obj["metadata"]["uid"])


class Ownership:
    """Objects by UID, indexed by owner and by controller."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._owners: dict[str, RunId] = {}
        self._members: dict[RunId, set[str]] = {}
        #: UIDs of the objects that an object controls, by its namespace and UID.
        self._controlled: dict[tuple[str, str], set[str]] = {}

    def put(self, entry: Entry) -> None:
        """Store an object, and find the owners of the object and of all below it."""
        uid = entry.obj["metadata"]["uid"]
        known = self._entries.get(uid)
        if known is not None:
            self._unlink(uid, known.obj)
        self._entries[uid] = entry
        if (place := _controller_of(entry.obj)) is not None:
            self._controlled.setdefault(place, set()).add(uid)
        self._assign(uid, known.obj if known else None)

    def refresh(self, entry: Entry) -> None:
        """Store a state of a known object that differs only in its resource version."""
        self._entries[entry.obj["metadata"]["uid"]] = entry

    def remove(self, uid: str) -> RunId | None:
        """Forget a known object; return the owner that it belonged to."""
        entry = self._entries.pop(uid)
        self._unlink(uid, entry.obj)
        owner = self._owners.get(uid)
        self._enrol(uid, None)
        return owner

    def entry(self, uid: str) -> Entry | None:
        """Return the object of that UID."""
        return self._entries.get(uid)

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Iterate over all objects, with their UIDs."""
        return iter(self._entries.items())

    def owner(self, uid: str) -> RunId | None:
        """Return the owner that an object belongs to."""
        return self._owners.get(uid)

    def owners(self) -> list[RunId]:
        """Return all owners with a known object."""
        return list(self._members)

    def is_known(self, owner: RunId) -> bool:
        """Return whether an object of an owner is known."""
        return owner in self._members

    def members(self, owner: RunId) -> list[Entry]:
        """Return the objects of an owner, with the owner itself."""
        return [self._entries[uid] for uid in self._members.get(owner, ())]

    def keep_newest(self, uid: str) -> bool:
        """Forget the older one of an object and its namesake; return whether the object stays.

        An owner has one object of a name of each kind in `ROOTS`. So the older one is gone, and its watch has not
        reported that yet.
        """
        entry, owner = self._entries[uid], self._owners.get(uid)
        if owner is None or entry.resource not in ROOTS[owner.kind]:
            return True
        name = entry.obj["metadata"]["name"]
        others = (other for other in self.members(owner) if other.resource is entry.resource and other.uid != uid)
        namesake = next((other for other in others if other.obj["metadata"]["name"] == name), None)
        if namesake is None:
            return True
        is_newest = version_of(namesake.obj) <= version_of(entry.obj)
        self.remove(namesake.uid if is_newest else uid)
        return is_newest

    def controlled(self, owner: RunId) -> list[Entry]:
        """Return the objects of which an owner is the direct controller."""
        return [self._entries[uid] for uid in self._controlled.get((owner.namespace, owner.uid), ())]

    def _assign(self, uid: str, before: Object | None) -> None:
        """Find the owner of an object that is new or has changed, and of all objects below it."""
        run = self._find(uid)
        if run is None and before is not None and _keeps_proof(before, self._entries[uid].obj):
            return
        if run == self._owners.get(uid):
            return
        self._enrol(uid, run)
        if self._entries[uid].resource not in (*OWNERS.values(), LEASE):
            for below in self._below(uid):
                self._enrol(below, run)

    def _find(self, uid: str) -> RunId | None:
        """Return the owner at the end of an object's chain; None where the chain is not complete."""
        entry, seen = self._entries[uid], {uid}
        if entry.resource.kind in OWNERS:
            return owner_key(entry.obj)
        while True:
            if (run := owner_of(entry.resource, entry.obj) or self._owner_by_name(entry)) is not None:
                return run
            owner = controller(entry.obj)
            above = self._entries.get(owner["uid"]) if owner else None
            if owner is None or above is None or not _refers(owner, entry.obj, above) or owner["uid"] in seen:
                return None
            if above.resource is LEASE:
                return None  # a Lease does not prove ownership
            if (proven := self._owners.get(owner["uid"])) is not None and above.resource.kind not in OWNERS:
                return proven
            seen.add(owner["uid"])
            entry = above

    def _owner_by_name(self, entry: Entry) -> RunId | None:
        """Return the owner of an object without references, from its name, which only an object of that owner has."""
        return self._owner_of_detached_lease(entry.obj) if entry.resource is LEASE else _owner_of_worker_group(entry)

    def _owner_of_detached_lease(self, lease: Object) -> RunId | None:
        """Return the owner of a Lease without references.

        A driver can remove them, and an orphaning deletion does. The name is the proof: it contains a hash of the
        owner's UID. A copy of the Lease in another namespace would have the same name. So the owner itself, or a child
        that the Lease controls, must be known in the Lease's namespace, too.
        """
        meta = lease["metadata"]
        if meta.get("ownerReferences"):
            return None
        named = (key for key in labelled_owners(lease) if meta["name"] == names.child_name(key.name, key.uid))
        return next((key for key in named if self._is_proven(key, meta["uid"])), None)

    def _is_proven(self, key: RunId, lease: str) -> bool:
        """Return whether an owner is known, or a child of it that the Lease with that UID controls."""
        known = self._entries.get(key.uid)
        if known is not None and known.resource.kind in OWNERS and owner_key(known.obj) == key:
            return True
        below = self._controlled.get((key.namespace, lease), ())
        return any(self._owners.get(child) == key for child in below)

    def _below(self, uid: str) -> Iterator[str]:
        """Yield the UIDs of all objects that an object controls, directly or not."""
        waiting, seen = [uid], {uid}
        while waiting:
            above = self._entries[waiting.pop()]
            meta = above.obj["metadata"]
            for below in self._controlled.get((meta["namespace"], meta["uid"]), ()):
                entry = self._entries[below]
                owner = controller(entry.obj)
                if below in seen or entry.resource.kind in OWNERS or not owner or not _refers(owner, entry.obj, above):
                    continue
                seen.add(below)
                waiting.append(below)
                yield below

    def _enrol(self, uid: str, run: RunId | None) -> None:
        """Make an object a member of an owner, or of no owner."""
        before = self._owners.pop(uid, None)
        if before is not None:
            self._members[before].discard(uid)
            if not self._members[before]:
                del self._members[before]
        if run is not None:
            self._owners[uid] = run
            self._members.setdefault(run, set()).add(uid)

    def _unlink(self, uid: str, obj: Object) -> None:
        if (place := _controller_of(obj)) is not None:
            siblings = self._controlled[place]
            siblings.discard(uid)
            if not siblings:
                del self._controlled[place]


def owner_key(obj: Object) -> RunId:
    """Return the identity of a FlowRun or SharedCluster."""
    meta = obj["metadata"]
    return RunId(meta["namespace"], meta["name"], meta["uid"], obj["kind"])


def _controller_of(obj: Object) -> tuple[str, str] | None:
    owner = controller(obj)
    return (obj["metadata"]["namespace"], owner["uid"]) if owner else None


def _refers(owner: Object, obj: Object, above: Entry) -> bool:
    """Return whether `owner`, a reference of `obj` with the UID of `above`, also has its kind, name and namespace."""
    meta = above.obj["metadata"]
    kind, group = owner.get("kind"), str(owner.get("apiVersion")).rpartition("/")[0].partition("/")[0]
    return (kind, group, owner.get("name"), obj["metadata"]["namespace"]) == (
        above.resource.kind, above.resource.group, meta["name"], meta["namespace"]
    )  # fmt: skip


def _keeps_proof(before: Object, after: Object) -> bool:
    """Return whether an object whose chain is incomplete keeps its owner: no other object has become its controller."""
    owner, previous = controller(after), controller(before)
    return owner is None or (previous is not None and owner["uid"] == previous["uid"])


def _owner_of_worker_group(entry: Entry) -> RunId | None:
    """Return the owner of a DaskWorkerGroup without a controller.

    dask-kubernetes creates the group first and writes its owner reference afterwards; it never does when the
    DaskCluster is gone by then. The group's name is the proof: it has the name of the owner's DaskCluster, with a hash
    of the owner's UID, and a suffix.
    """
    meta = entry.obj["metadata"]
    if entry.resource is not DASK_WORKER_GROUP or meta.get("ownerReferences"):
        return None
    named = (key for key in labelled_owners(entry.obj) if meta["name"] == _default_group(key))
    return next(named, None)


def _default_group(key: RunId) -> str:
    return f"{names.child_name(key.name, key.uid)}-default"
