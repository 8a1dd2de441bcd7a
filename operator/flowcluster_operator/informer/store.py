"""The last known state of each object, by its owner: a FlowRun or a SharedCluster. "Run" stands for both here.

Watch events, answers to the operator's own writes and full lists fill the store. Because of the answers, no pass acts
on a state that is older than its last write. The lists correct what a broken watch missed. The store keeps only the
fields that decisions read (`projection`): a change of another field wakes no run.

`ownership` finds the owner of each object, and `shared_cluster_users` the peers of an owner: the owners on the other
side of `spec.cluster.ref`.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from flowcluster_api.keeper import digest_of
from flowcluster_operator.desired.metadata import controller, controlling_owner, controlling_run, has_root_name
from flowcluster_operator.informer.ownership import Entry, Ownership, owner_key
from flowcluster_operator.informer.projection import projected
from flowcluster_operator.informer.shared_cluster_users import SharedClusterUsers
from flowcluster_operator.informer.versions import is_same, version_of
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import CLUSTERS, FLOW_RUN, LEASE, OWNERS, SHARED_CLUSTER, Object, Resource
from flowcluster_operator.shared_cluster_use import (
    NamespacedName,
    PeerView,
    SharedClusterUse,
    offer_of,
    single_in,
    use_of,
)

#: Maximum deletions that the store remembers. It needs them while a list is under way, which takes seconds.
_MOST_DELETED = 10_000


class Store:
    """Objects by UID, indexed by owner and by controller. Not thread-safe: it belongs to the event loop."""

    def __init__(self) -> None:
        self._users = SharedClusterUsers()
        self._ownership = Ownership()
        self._revisions: dict[RunId, int] = {}
        #: Resource versions of the latest deletions that watches reported, by UID.
        self._deleted: dict[str, int] = {}
        #: The resource version of the last full list, by kind.
        self._listed: dict[Resource, int] = {}
        #: Kinds of the roots that are gone, by run.
        self._gone: dict[RunId, set[Resource]] = {}

    def put(self, resource: Resource, obj: Object) -> set[RunId]:
        """Store `obj`, unless a newer state or its deletion is known: an answer can arrive after the watch event.

        Returns:
            The owners to wake: the present owner of the object, its owner before, and peers that read it. No owner
            where no decision reads what changed.
        """
        uid = obj["metadata"]["uid"]
        known = self._ownership.entry(uid)
        before = self._ownership.owner(uid)
        if version_of(obj) <= self._deleted.get(uid, -1) or (
            known is not None and version_of(obj) < version_of(known.obj)
        ):
            return set()
        obj = projected(resource, obj)
        if known is not None and is_same(known.obj, obj):
            self._ownership.refresh(Entry(resource, obj))
            return set()
        self._ownership.put(Entry(resource, obj))
        run = self._ownership.owner(uid)
        if known is None and not self._ownership.keep_newest(uid):
            return set()
        if run in self._gone:
            self._gone[run].discard(resource)
        changed = self._revised(before, run) | self._changed_peers(resource, known.obj if known else None, obj)
        return changed | self._peers_of_child(resource, run, known.obj if known else None, obj)

    def put_reported(self, resource: Resource, obj: Object) -> set[RunId]:
        """Keep an object that a watch reports, as `put` does, unless a newer list has shown that it is gone.

        A watch that was interrupted goes on where it ended. So it reports an object again that no longer exists, as it
        was before its end; the report of its end follows.
        """
        is_known = self._ownership.entry(obj["metadata"]["uid"]) is not None
        if not is_known and version_of(obj) <= self._listed.get(resource, -1):
            return set()
        return self.put(resource, obj)

    def remove(self, resource: Resource, uid: str, version: int = 0, *, is_gone: bool = False) -> set[RunId]:
        """Forget an object that is gone.

        Args:
            resource: its kind.
            uid: its UID.
            version: the resource version of its deletion, where a watch reported that. Older answers and lists do not
                restore the object.
            is_gone: whether the API server has confirmed that the object does not exist any more. Without it, only its
                label may be gone.

        Returns:
            The owner that it belonged to, and peers that read it.
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
        if is_gone and run is not None and has_root_name(resource, entry.obj, run):
            self._gone.setdefault(run, set()).add(resource)
        return (
            self._revised(run)
            | self._changed_peers(resource, entry.obj, None)
            | self._peers_of_child(resource, run, entry.obj, None)
        )

    def invalidate(self, uid: str) -> None:
        """Forget the state of an owner that another client has changed, so that the next pass reads it.

        The owner probably still exists, so its peers stay known.
        """
        if self._ownership.entry(uid) is not None:
            self._revised(self._ownership.remove(uid))

    def forget_uses(self, key: RunId) -> None:
        """Forget the peers of an owner whose state was invalidated, and that does not exist."""
        self._users.forget(key)

    def listed(self, resource: Resource, objects: Iterable[Object]) -> set[RunId]:
        """Store the objects of a page of a list; return the runs in which an object differed."""
        changed: set[RunId] = set()
        for obj in objects:
            uid = obj["metadata"]["uid"]
            known = self._ownership.entry(uid)
            if known and version_of(obj) <= version_of(known.obj):
                continue
            changed |= self.put(resource, obj)
        return changed

    def retain(self, resource: Resource, uids: Set[str], version: int) -> set[RunId]:
        """Forget the objects of a kind that a full list does not have; return their owners, and peers that read them.

        Args:
            resource: the kind.
            uids: of all objects in the list.
            version: the resource version of the list. An object that was written after it stays.
        """
        lacking = [
            uid
            for uid, entry in self._ownership.entries()
            if entry.resource is resource and uid not in uids and version_of(entry.obj) <= version
        ]
        self._listed[resource] = max(version, self._listed.get(resource, version))
        changed: set[RunId] = set()
        for uid in lacking:
            changed |= self.remove(resource, uid)
        return changed

    def owner(self, key: RunId) -> Object | None:
        """Return the FlowRun or SharedCluster of that identity."""
        entry = self._ownership.entry(key.uid)
        is_it = entry is not None and entry.resource.kind in OWNERS and owner_key(entry.obj) == key
        return entry.obj if entry is not None and is_it else None

    def shared_cluster(self, name: NamespacedName) -> Object | None:
        """Return the SharedCluster of that namespace and name."""
        key = self.shared_key(name)
        return self.owner(key) if key is not None else None

    def shared_key(self, name: NamespacedName) -> RunId | None:
        """Return the identity of the SharedCluster of that namespace and name, also while its state is invalidated."""
        return self._users.cluster(name)

    def uses(self, name: NamespacedName) -> dict[RunId, SharedClusterUse]:
        """Return the FlowRuns that name a SharedCluster, and how each of them uses it."""
        return self._users.runs(name)

    def peer_view(self, key: RunId) -> PeerView | None:
        """Return what its peers read of an owner; None where it is not known."""
        if (obj := self.owner(key)) is None:
            return None
        if key.kind == FLOW_RUN.kind:
            return PeerView(use_of(obj))
        entries = self._ownership.members(key)
        clusters = {entry.obj["metadata"]["uid"] for entry in entries if entry.resource in CLUSTERS}
        leases = [entry.obj for entry in entries if _is_root_lease(entry.resource, entry.obj, key)]
        return PeerView((offer_of(obj), clusters), single_in(leases[0] if leases else None))

    def affected_peers(self, key: RunId, before: PeerView | None) -> set[RunId]:
        """Return the peers to wake after a pass over an owner.

        Args:
            key: the owner.
            before: its view before the pass.
        """
        after, others = self.peer_view(key), self.peers(key)
        if before is None or after is None or before.all != after.all:
            return others if before != after else set()
        changed = {item[0] for item in before.single ^ after.single}
        return {other for other in others if digest_of(other.uid) in changed}

    def peers(self, key: RunId) -> set[RunId]:
        """Return the peers of an owner: the SharedCluster of a run, or the runs of a SharedCluster."""
        return self._users.peers(key)

    def child(self, key: RunId, uid: str) -> Object | None:
        """Return the run's object of that UID."""
        entry = self._ownership.entry(uid)
        return entry.obj if entry is not None and self._ownership.owner(uid) == key else None

    def children(self, key: RunId, resource: Resource) -> list[Object]:
        """Return the run's objects of one kind, by name."""
        found = [entry.obj for entry in self._ownership.members(key) if entry.resource is resource]
        if resource.kind in OWNERS:
            found = [obj for obj in found if owner_key(obj) != key]
        if len(found) < 2:
            return found
        return sorted(found, key=lambda obj: str(obj["metadata"]["name"]))

    def orphans(self, key: RunId) -> list[Object]:
        """Return the run's objects without a living controller.

        Such an object has no controller, one that is gone, or a Lease that is not the run's. An object that the FlowRun
        itself controls is not an orphan.
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

    def child_runs(self, key: RunId) -> list[RunId]:
        """Return the runs that the run owns."""
        entries = self._ownership.controlled(key)
        runs = [entry.obj for entry in entries if entry.resource is FLOW_RUN and controlling_run(entry.obj) == key]
        return sorted(owner_key(obj) for obj in runs)

    def is_gone(self, key: RunId, resource: Resource) -> bool:
        """Return whether the run's object of that kind existed, and the API server has confirmed that it is gone."""
        return resource in self._gone.get(key, ())

    def forget_gone(self, key: RunId) -> None:
        """Forget which objects of a run are gone: their deletion has been verified, or the run starts."""
        self._gone.pop(key, None)

    def revision(self, key: RunId) -> int:
        """Return how often a known object of a run has changed."""
        return self._revisions.get(key, 0)

    def run_ids(self) -> list[RunId]:
        """Return all owners with a known object."""
        return self._ownership.owners()

    def _revised(self, *runs: RunId | None) -> set[RunId]:
        """Count a change of these runs, and return them."""
        changed = {run for run in runs if run is not None}
        for run in changed:
            if self._ownership.is_known(run):
                self._revisions[run] = self._revisions.get(run, 0) + 1
            else:
                self._revisions.pop(run, None)
                self._gone.pop(run, None)
        return changed

    def _changed_peers(self, resource: Resource, before: Object | None, after: Object | None) -> set[RunId]:
        """Return the peers to wake when a FlowRun or SharedCluster changes."""
        if resource.kind not in OWNERS:
            return set()
        found = self._users.changed(resource, owner_key(after or before or {}), before, after)
        return self._revised(*found)

    def _peers_of_child(
        self, resource: Resource, owner: RunId | None, before: Object | None, after: Object | None
    ) -> set[RunId]:
        """Return the runs to wake when a child of a SharedCluster changes.

        All runs on it wake when the cluster resource is new or gone. When the root Lease changes, only those runs wake
        that read what has changed there.
        """
        if owner is None or owner.kind != SHARED_CLUSTER.kind:
            return set()
        if resource in CLUSTERS and (before is None or after is None):
            return self._revised(*self._users.peers(owner))
        if not _is_root_lease(resource, after or before or {}, owner):
            return set()
        changed = {item[0] for item in single_in(before) ^ single_in(after)}
        return self._revised(*(run for run in self._users.peers(owner) if digest_of(run.uid) in changed))


def _is_root_lease(resource: Resource, obj: Object, owner: RunId) -> bool:
    return resource is LEASE and has_root_name(LEASE, obj, owner)
