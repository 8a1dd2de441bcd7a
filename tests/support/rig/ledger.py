"""The objects that the API server reports, by namespace: those that exist, were created and were deleted."""

from __future__ import annotations

import dataclasses
import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from flowcluster_api import names
from flowcluster_api.conditions import CLUSTER_DELETED
from flowcluster_operator.model.conditions import is_true
from tests.support.rig.client import ApiError, Body, Client
from tests.support.rig.kinds import FLOW_RUN, GIVEN, OWNERS, Kind

#: Labels that say which part of a cluster a pod is; the second is KubeRay's own.
_COMPONENT_LABELS = (names.LABEL_COMPONENT, "ray.io/node-type")
_RETRY_SECONDS = 0.2
_OWNERS = [kind.name for kind in OWNERS]
#: Seconds within which the operator repeats a request, and the watches of the ledger agree.
_OVERTAKEN_SECONDS = 2.0
#: Kinds that the controller of a kind creates for its objects, and for which it can be late.
_MADE_BY = {
    "DaskWorkerGroup": {"Deployment"},
    "Deployment": {"ReplicaSet"},
    "ReplicaSet": {"Pod"},
    "RayCluster": {"Role", "RoleBinding", "Service", "ServiceAccount"},
}


@dataclasses.dataclass
class Entry:
    """One object that exists or existed.

    Attributes:
        kind: name of its kind.
        body: as the API server reported it last.
        is_gone: whether it was deleted.
        since: resource version at which it was first reported. Those of all kinds grow together.
        doomed: resource version at which it was first reported as being deleted, or as gone; 0 before.
        reported_at: when it was first reported, in seconds of a monotonic clock.
        doomed_at: the same for `doomed`.
        started: of a FlowRun or SharedCluster, the resource version at which it first had a phase; 0 before.
        emptied: of a FlowRun, the resource version at which its status first reported that nothing is left; 0 before.
    """

    kind: str
    body: Body
    is_gone: bool = False
    since: int = 0
    doomed: int = 0
    reported_at: float = dataclasses.field(default_factory=time.monotonic)
    doomed_at: float = 0.0
    started: int = 0
    emptied: int = 0

    @property
    def meta(self) -> Body:
        """Its metadata."""
        return dict(self.body["metadata"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.body["metadata"]["name"])

    @property
    def version(self) -> int:
        """The resource version at which it was reported last: of one that is gone, that of its deletion."""
        return int(self.body["metadata"].get("resourceVersion") or 0)

    @property
    def uid(self) -> str:
        """Its UID."""
        return str(self.body["metadata"]["uid"])

    @property
    def label(self) -> str:
        """Its kind, and its component where it has one: what is counted."""
        labels = self.body["metadata"].get("labels") or {}
        component = next((labels[name] for name in _COMPONENT_LABELS if labels.get(name)), "")
        return f"{self.kind} {component}".strip()

    @property
    def is_terminating(self) -> bool:
        """Whether it is being deleted."""
        return "deletionTimestamp" in self.body["metadata"]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class View:
    """The objects of one namespace. All methods can be called from any thread."""

    def __init__(self, namespace: str, lock: threading.RLock) -> None:
        self.namespace, self._lock = namespace, lock
        self._entries: dict[str, Entry] = {}
        self._given: set[str] = set()
        self._phases: dict[tuple[str, str], list[str]] = {}
        self._history: list[str] = []

    def has_given(self, kind: str) -> bool:
        """Whether what Kubernetes itself puts into a namespace is there."""
        return kind in self._given

    def entries(self, kind: Kind | None = None, *, gone: bool = False) -> list[Entry]:
        """Return the objects that exist, by age; with `gone`, also those that existed."""
        with self._lock:
            return [
                entry
                for entry in self._entries.values()
                if (gone or not entry.is_gone) and (kind is None or entry.kind == kind.name)
            ]

    def pods(self, *components: str) -> list[Entry]:
        """Return the pods of some components that exist and are not being deleted."""
        return [
            entry
            for entry in self.entries()
            if entry.kind == "Pod" and not entry.is_terminating and entry.label.partition(" ")[2] in components
        ]

    def run(self, name: str) -> Body | None:
        """Return the FlowRun of that name; None when there is none."""
        return self.owner(FLOW_RUN, name)

    def owner(self, kind: Kind, name: str) -> Body | None:
        """Return the FlowRun or SharedCluster of that name; None when there is none."""
        return next((entry.body for entry in self.entries(kind) if entry.name == name), None)

    def status(self, name: str, kind: Kind = FLOW_RUN) -> Body:
        """Return the status of a FlowRun or SharedCluster; empty when there is none."""
        return dict((self.owner(kind, name) or {}).get("status") or {})

    def phases(self, name: str, kind: Kind = FLOW_RUN) -> list[str]:
        """Return the phases of a FlowRun or SharedCluster in the order in which it had them."""
        with self._lock:
            return list(self._phases.get((kind.name, name), []))

    def history(self) -> list[str]:
        """Return the creations, deletions and changes of all objects, in the order in which they were reported."""
        with self._lock:
            return list(self._history)

    def created(self, chosen: Callable[[Entry], bool]) -> Counter[str]:
        """Count the objects that were created, by kind and component."""
        return Counter(entry.label for entry in self.counted() if chosen(entry))

    def deleted(self, chosen: Callable[[Entry], bool]) -> Counter[str]:
        """Count the objects that were deleted, by kind and component."""
        return Counter(entry.label for entry in self.counted() if entry.is_gone and chosen(entry))

    def counted(self) -> list[Entry]:
        """Return all objects but those that are late."""
        with self._lock:
            return [entry for entry in self._entries.values() if not self._is_late(entry)]

    def late(self) -> list[Entry]:
        """Return the objects that a controller made for an owner that was being deleted, and what belongs to them.

        A late controller does so, and no write of the operator causes or prevents it. Deployments and
        ReplicaSets replace what they own when they notice its deletion before their own. dask-kubernetes handles the
        number of a new worker group twice: the second time, on a busy machine, it makes the workers again of a group
        that is being deleted, or is gone. KubeRay replaces the Service and the rights of a RayCluster when it notices
        that they were deleted before it notices the deletion of the RayCluster.

        The operator itself can repeat a creation, as its answer was lost or it has just begun, at the moment at which
        the user deletes the record. Its object is late if garbage collection had already deleted the first one.
        """
        with self._lock:
            return [entry for entry in self._entries.values() if self._is_late(entry)]

    def forget_gone(self) -> None:
        """Free the memory of objects that are gone, and of the history."""
        with self._lock:
            self._entries = {uid: entry for uid, entry in self._entries.items() if not entry.is_gone}
            self._history.clear()
            self._phases.clear()

    def _is_late(self, entry: Entry) -> bool:
        owners = entry.body["metadata"].get("ownerReferences") or []
        above = [self._entries[owner["uid"]] for owner in owners if owner["uid"] in self._entries]
        return any(
            (0 < owner.doomed < entry.since and entry.kind in _MADE_BY.get(owner.kind, ()))
            or self._is_overtaken(entry, owner)
            or self._is_late(owner)
            for owner in above
        )

    def _is_overtaken(self, entry: Entry, lease: Entry) -> bool:
        """Return whether the operator created an object once more while the user deleted the record of its owner."""
        if not 0 < lease.doomed < entry.since or not self._is_repeated(entry):
            return False
        owners = [owner["uid"] for owner in lease.body["metadata"].get("ownerReferences") or []]
        records = [self._entries[uid] for uid in owners if uid in self._entries]
        return any(
            record.kind in _OWNERS
            and 0 < record.doomed < entry.since
            and entry.reported_at - record.doomed_at < _OVERTAKEN_SECONDS
            for record in records
        )

    def _is_repeated(self, entry: Entry) -> bool:
        """Return whether the object is the second one of its kind and name, and the first one is gone."""
        return [
            other.is_gone
            for other in self._entries.values()
            if (other.kind, other.name) == (entry.kind, entry.name) and other.since < entry.since
        ] == [True]

    def take(self, kind: str, body: Body, *, is_gone: bool) -> None:
        """Record one report about an object."""
        meta = body["metadata"]
        if (kind, meta["name"]) in GIVEN:
            self._given.add(kind)
            return
        known = self._entries.get(meta["uid"])
        entry = self._entries.setdefault(meta["uid"], Entry(kind, body))
        self._history.append(_line(entry, body, "gone" if is_gone else "new" if known is None else "changed"))
        entry.body, entry.is_gone = body, entry.is_gone or is_gone
        entry.since = entry.since or entry.version
        if entry.is_terminating or is_gone:
            entry.doomed = entry.doomed or entry.version
            entry.doomed_at = entry.doomed_at or time.monotonic()
        status = body.get("status") or {}
        phase = status.get("phase")
        if kind == names.KIND and is_true(status, CLUSTER_DELETED):
            entry.emptied = entry.emptied or entry.version
        if phase and kind in _OWNERS:
            entry.started = entry.started or entry.version
            phases = self._phases.setdefault((kind, meta["name"]), [])
            if phases[-1:] != [phase]:
                phases.append(phase)


def _line(entry: Entry, body: Body, change: str) -> str:
    """Return one line about what the API server reported of an object."""
    meta, phase = body["metadata"], (body.get("status") or {}).get("phase") or ""
    words = [f"{time.monotonic():.2f}", change, str(entry), str(meta.get("resourceVersion", "")), phase]
    if "deletionTimestamp" in meta:
        words.append(f"terminating, finalizers: {', '.join(meta.get('finalizers') or []) or 'none'}")
    return " ".join(word for word in words if word)


class Ledger:
    """Watches all objects of some kinds in all namespaces."""

    def __init__(self, client: Client, kinds: Sequence[Kind]) -> None:
        self._client, self._kinds = client, kinds
        self._lock = threading.RLock()
        self._views: dict[str, View] = {}
        self._synced: set[str] = set()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to watch, one thread for each kind."""
        for kind in self._kinds:
            thread = threading.Thread(target=self._follow, args=(kind,), daemon=True, name=f"watch {kind.plural}")
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Start no more watches."""
        self._stopped.set()

    def join(self) -> None:
        """Wait for the end of all watches. The API server must have ended before."""
        for thread in self._threads:
            thread.join()

    def is_synced(self) -> bool:
        """Return whether all kinds are being watched."""
        return len(self._synced) == len(self._kinds)

    def of(self, namespace: str) -> View:
        """Return the objects of one namespace."""
        with self._lock:
            return self._views.setdefault(namespace, View(namespace, self._lock))

    def forget(self, namespace: str) -> None:
        """Free the memory of a namespace that is not needed any more."""
        with self._lock:
            self._views.pop(namespace, None)

    def _follow(self, kind: Kind) -> None:
        version = ""
        while not self._stopped.is_set():
            try:
                version = version or self._list(kind)
                for event in self._client.watch(kind.path(), version, whole=kind.whole):
                    if event["type"] == "ERROR":
                        version = ""
                        break
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        self._take(kind, event["object"], is_gone=event["type"] == "DELETED")
            except (OSError, http.client.HTTPException, ApiError, ValueError):
                version = ""
                self._stopped.wait(_RETRY_SECONDS)

    def _list(self, kind: Kind) -> str:
        found = self._client.listed(kind.path(), whole=kind.whole)
        there = {item["metadata"]["uid"] for item in found["items"] or ()}
        for item in found["items"] or ():
            self._take(kind, item, is_gone=False)
        with self._lock:
            for view in self._views.values():
                for entry in view.entries():
                    if entry.kind == kind.name and entry.uid not in there:
                        view.take(kind.name, entry.body, is_gone=True)
        self._synced.add(kind.name)
        return str(found["metadata"]["resourceVersion"])

    def _take(self, kind: Kind, body: Body, *, is_gone: bool) -> None:
        namespace = body["metadata"].get("namespace")
        if namespace:
            with self._lock:
                self.of(namespace).take(kind.name, body, is_gone=is_gone)
