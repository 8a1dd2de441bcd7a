"""The last known state of each object, by the owner that it belongs to: a FlowRun, called run here, or a SharedCluster.

The store is filled by watch events, by answers to the operator's own writes (so that a pass never acts on a world older
than its last write) and by full listings, which correct what a broken watch missed. It keeps what decisions read of an
object (`projection`): a change of another field wakes no run.

`ownership` finds the owner of each object, and `uses` the owners on both sides of `spec.cluster.ref`.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from flowcluster_api.keeper import digest_of
from flowcluster_operator.desired.metadata import controller, controlling_owner, controlling_run, root_name
from flowcluster_operator.model import Key
from flowcluster_operator.ownership import Entry, Ownership, owner_key
from flowcluster_operator.projection import projected
from flowcluster_operator.resources import CLUSTERS, FLOW_RUN, LEASE, OWNERS, SHARED_CLUSTER, Object, Resource
from flowcluster_operator.sharing import Outlook, Place, Use, offer_of, single_in, use_of
from flowcluster_operator.uses import Uses

#: Deletions that are remembered: a listing takes seconds.
_MOST_DELETED = 10_000


class Store:
    """Objects by UID, indexed by owner and by controller. Not thread-safe: it lives on the event loop."""

    def __init__(self) -> None:
        self._uses = Uses()
        self._ownership = Ownership()
        self._revisions: dict[Key, int] = {}
        #: Resource versions of the latest deletions that watches reported, by UID.
        self._deleted: dict[str, int] = {}
        #: Kinds of the roots that are gone, by run.
        self._gone: dict[Key, set[Resource]] = {}

    def put(self, resource: Resource, obj: Object) -> set[Key]:
        """Keep `obj` unless a newer state is known, or its deletion: an answer can arrive after the watch event.

        Returns:
            The owners to wake: the one that the object belongs to, the one that it belonged to before, and those that
            read it across `spec.cluster.ref`. None where no decision reads what changed.
        """
        uid = obj["metadata"]["uid"]
        known = self._ownership.entry(uid)
        before = self._ownership.owner(uid)
        if _version(obj) <= self._deleted.get(uid, -1) or (known is not None and _version(obj) < _version(known.obj)):
            return set()
        obj = projected(resource, obj)
        if known is not None and _is_same(known.obj, obj):
            self._ownership.refresh(Entry(resource, obj))
            return set()
        self._ownership.put(Entry(resource, obj))
        run = self._ownership.owner(uid)
        if run in self._gone:
            self._gone[run].discard(resource)
        changed = self._revised(before, run) | self._across(resource, known.obj if known else None, obj)
        return changed | self._beside(resource, run, known.obj if known else None, obj)

    def remove(self, resource: Resource, uid: str, version: int = 0, *, is_gone: bool = False) -> set[Key]:
        """Forget an object that is gone.

        Args:
            resource: its kind.
            uid: its UID.
            version: the resource version of its deletion, where a watch reported that. Answers and listings that were
                made before do not bring the object back.
            is_gone: whether the API server has confirmed that the object does not exist any more. Without it, only its
                label may be gone.

        Returns:
            The owner that it belonged to, and those that read it across `spec.cluster.ref`.
        """
        if version:
            self._deleted.pop(uid, None)
            self._deleted[uid] = version
            if len(self._deleted) > _MOST_DELETED:
                del self._deleted[next(iter(self._deleted))]
        entry = self._ownership.entry(uid)
        if entry is None or entry.resource is not resource:
            return set()
        run = self._ownership.remove(uid)
        if is_gone and run is not None and entry.obj["metadata"]["name"] == root_name(resource, run):
            self._gone.setdefault(run, set()).add(resource)
        return (
            self._revised(run) | self._across(resource, entry.obj, None) | self._beside(resource, run, entry.obj, None)
        )

    def doubt(self, uid: str) -> None:
        """Forget the state of an owner that another client has changed: the next pass reads it.

        Whom it names, and who names it, stays: it probably exists.
        """
        if self._ownership.entry(uid) is not None:
            self._revised(self._ownership.remove(uid))

    def forget_uses(self, key: Key) -> None:
        """Take in that an owner whose state was in doubt does not exist."""
        self._uses.forget(key)

    def replace(self, resource: Resource, objects: Iterable[Object], version: int) -> set[Key]:
        """Make a full listing the truth for its kind.

        Args:
            resource: the kind.
            objects: all objects of that kind.
            version: the listing's resource version. An object that was written after it stays.

        Returns:
            The runs in which something differed.
        """
        listed = list(objects)
        changed = self.retain(resource, {obj["metadata"]["uid"] for obj in listed}, version)
        return changed | self.listed(resource, listed)

    def listed(self, resource: Resource, objects: Iterable[Object]) -> set[Key]:
        """Keep objects of a part of a listing; return the runs in which something differed."""
        changed: set[Key] = set()
        for obj in objects:
            uid = obj["metadata"]["uid"]
            known = self._ownership.entry(uid)
            if known and _version(obj) <= _version(known.obj):
                continue
            changed |= self.put(resource, obj)
        return changed

    def retain(self, resource: Resource, uids: Set[str], version: int) -> set[Key]:
        """Forget objects of a kind that a listing lacks; return the runs in which something differed.

        Args:
            resource: the kind.
            uids: of all objects of that kind.
            version: the listing's resource version. An object that was written after it stays.
        """
        lacking = [
            uid
            for uid, entry in self._ownership.entries()
            if entry.resource is resource and uid not in uids and _version(entry.obj) <= version
        ]
        changed: set[Key] = set()
        for uid in lacking:
            changed |= self.remove(resource, uid)
        return changed

    def owner(self, key: Key) -> Object | None:
        """Return the FlowRun or SharedCluster of that identity."""
        entry = self._ownership.entry(key.uid)
        is_it = entry is not None and entry.resource.kind in OWNERS and owner_key(entry.obj) == key
        return entry.obj if entry is not None and is_it else None

    def shared_cluster(self, place: Place) -> Object | None:
        """Return the SharedCluster of that namespace and name."""
        key = self.shared_key(place)
        return self.owner(key) if key is not None else None

    def shared_key(self, place: Place) -> Key | None:
        """Return the identity of the SharedCluster of that namespace and name, also while its state is in doubt."""
        return self._uses.cluster(place)

    def uses(self, place: Place) -> dict[Key, Use]:
        """Return the FlowRuns that name a SharedCluster, and how each of them uses it."""
        return self._uses.runs(place)

    def outlook(self, key: Key) -> Outlook | None:
        """Return what owners on the other side of `spec.cluster.ref` read of an owner; None where it is not known."""
        if (obj := self.owner(key)) is None:
            return None
        if key.kind == FLOW_RUN.kind:
            return Outlook(use_of(obj))
        entries = self._ownership.members(key)
        clusters = {entry.obj["metadata"]["uid"] for entry in entries if entry.resource in CLUSTERS}
        leases = [entry.obj for entry in entries if _is_root_lease(entry.resource, entry.obj, key)]
        return Outlook((offer_of(obj), clusters), single_in(leases[0] if leases else None))

    def affected(self, key: Key, before: Outlook | None) -> set[Key]:
        """Return the owners on the other side to look at after a pass over an owner, which had that outlook before."""
        after, others = self.outlook(key), self.across(key)
        if before is None or after is None or before.all != after.all:
            return others if before != after else set()
        changed = {item[0] for item in before.single ^ after.single}
        return {other for other in others if digest_of(other.uid) in changed}

    def across(self, key: Key) -> set[Key]:
        """Return the owners on the other side of `spec.cluster.ref`: the SharedCluster of a run, or its runs."""
        return self._uses.across(key)

    def child(self, key: Key, uid: str) -> Object | None:
        """Return the run's object of that UID."""
        entry = self._ownership.entry(uid)
        return entry.obj if entry is not None and self._ownership.owner(uid) == key else None

    def children(self, key: Key, resource: Resource) -> list[Object]:
        """Return the run's objects of one kind, by name."""
        found = [entry.obj for entry in self._ownership.members(key) if entry.resource is resource]
        if resource.kind in OWNERS:
            found = [obj for obj in found if owner_key(obj) != key]
        if len(found) < 2:
            return found
        return sorted(found, key=lambda obj: str(obj["metadata"]["name"]))

    def orphans(self, key: Key) -> list[Object]:
        """Return the run's objects without a living owner: no controller, one that is gone, or a Lease of another run.

        What the FlowRun itself controls is no orphan.
        """
        found = []
        for entry in self._ownership.members(key):
            if entry.resource.kind in OWNERS or controlling_owner(entry.obj) is not None:
                continue
            owner = controller(entry.obj)
            above = self._ownership.entry(owner["uid"]) if owner else None
            if above is None or (above.resource is LEASE and self._ownership.owner(above.uid) != key):
                found.append(entry.obj)
        return sorted(found, key=lambda obj: (str(obj["kind"]), str(obj["metadata"]["name"])))

    def child_runs(self, key: Key) -> list[Key]:
        """Return the runs that the run owns."""
        entries = self._ownership.controlled(key)
        runs = [entry.obj for entry in entries if entry.resource is FLOW_RUN and controlling_run(entry.obj) == key]
        return sorted(owner_key(obj) for obj in runs)

    def is_gone(self, key: Key, resource: Resource) -> bool:
        """Whether the API server has confirmed that the run's root of that kind, which existed, is gone."""
        return resource in self._gone.get(key, ())

    def forget_gone(self, key: Key) -> None:
        """Forget what of a run is gone: it has been verified, or the run starts."""
        self._gone.pop(key, None)

    def revision(self, key: Key) -> int:
        """Return how often what is known of a run has changed."""
        return self._revisions.get(key, 0)

    def keys(self) -> list[Key]:
        """Return all runs of which anything is known."""
        return self._ownership.owners()

    def _revised(self, *runs: Key | None) -> set[Key]:
        """Count a change of these runs, and return them."""
        changed = {run for run in runs if run is not None}
        for run in changed:
            if self._ownership.is_known(run):
                self._revisions[run] = self._revisions.get(run, 0) + 1
            else:
                self._revisions.pop(run, None)
                self._gone.pop(run, None)
        return changed

    def _across(self, resource: Resource, before: Object | None, after: Object | None) -> set[Key]:
        """Return the owners to wake on the other side of `spec.cluster.ref` when an object changes."""
        if resource.kind not in OWNERS:
            return set()
        found = self._uses.changed(resource, owner_key(after or before or {}), before, after)
        return self._revised(*found)

    def _beside(self, resource: Resource, owner: Key | None, before: Object | None, after: Object | None) -> set[Key]:
        """Return the runs to wake when a child of a SharedCluster changes.

        These are all of its runs when the cluster resource is new or gone. When the root Lease changes, they are the
        runs that read there what has changed.
        """
        if owner is None or owner.kind != SHARED_CLUSTER.kind:
            return set()
        if resource in CLUSTERS and (before is None or after is None):
            return self._revised(*self._uses.across(owner))
        if not _is_root_lease(resource, after or before or {}, owner):
            return set()
        changed = {item[0] for item in single_in(before) ^ single_in(after)}
        return self._revised(*(run for run in self._uses.across(owner) if digest_of(run.uid) in changed))


def _is_same(known: Object, obj: Object) -> bool:
    """Whether two states of an object differ in nothing but their resource version."""
    version = obj["metadata"].get("resourceVersion")
    return {**known, "metadata": {**known["metadata"], "resourceVersion": version}} == obj


def _is_root_lease(resource: Resource, obj: Object, owner: Key) -> bool:
    return resource is LEASE and bool(obj["metadata"]["name"] == root_name(LEASE, owner))


def _version(obj: Object) -> int:
    """Resource versions grow within one kind: the API server guarantees that they compare as numbers."""
    return int(obj["metadata"].get("resourceVersion", 0))
