"""Objects as an API server keeps them: identities, versions, owners and deletion.

Names, messages and the order of checks follow the Kubernetes API server. What the operator does not rely on is left
out: schemas, defaults, admission, grace periods, server-side apply.
"""

from __future__ import annotations

import datetime as dt
import marshal
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from flowcluster_api import names
from flowcluster_operator.resources import Object, Resource
from flowcluster_operator.timestamps import timestamp
from tests.support.fake_api.defaults import stored_status
from tests.support.fake_api.failures import Failure
from tests.support.fake_api.patches import field_selected, label_selected, merged, stepped

FOREGROUND = "foregroundDeletion"
#: Stands for a node that must confirm the end of a pod. A deletion without a grace period does not need it.
NODE = "fake/node"
_Place = tuple[Resource, str, str]
T = TypeVar("T")


def copied(obj: T) -> T:
    """Return a copy of a value that JSON can hold."""
    given: Any = obj
    copy: T = marshal.loads(marshal.dumps(given))  # takes about a quarter of the time that JSON takes
    return copy


class Objects:
    """All objects of one API server.

    Attributes:
        version: the resource version of the last write.
        clock: the time that new objects are given.
        collects_garbage: whether the garbage collector works. While it does not, dependents of deleted objects stay.
        on_change: is called after each write.
    """

    def __init__(self, clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)) -> None:
        self.version = 100
        self.collects_garbage = True
        self.clock = clock
        self._kept: dict[_Place, Object] = {}
        self._uids = 0
        self.on_change: Callable[[], None] = lambda: None
        self._changes: list[tuple[int, str, Resource, Object]] = []

    def changes(self, resource: Resource, version: int) -> list[tuple[int, str, Object]]:
        """Return the changes of one kind after a version: the version of each, its type, and the object."""
        return [
            (when, what, copied(obj)) for when, what, kind, obj in self._changes if kind is resource and when > version
        ]

    def snapshot(self) -> Objects:
        """Return a copy that later writes do not change."""
        other = Objects(self.clock)
        other.version, other._uids = self.version, self._uids
        other._kept = {place: copied(obj) for place, obj in self._kept.items()}
        return other

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Return one object. Raises Failure 404."""
        return copied(self._find(resource, namespace, name))

    def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Return one object, or None."""
        return copied(self._kept.get((resource, namespace, name)))

    def all(self, resource: Resource | None = None) -> list[Object]:
        """Return the objects of one kind, or of all kinds, in the order of their creation."""
        return [copied(obj) for place, obj in self._kept.items() if resource in (None, place[0])]

    def select(self, resource: Resource, namespace: str | None, labels: str = "", fields: str = "") -> list[Object]:
        """Return the objects of one kind that match; of all namespaces when `namespace` is None."""
        return [
            copied(obj)
            for (kind, where, _), obj in self._kept.items()
            if kind == resource
            and namespace in (None, where)
            and label_selected(obj, labels)
            and field_selected(obj, fields)
        ]

    def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        """Create an object, with the UID that `body` names, if any. Raises Failure 400, 409 or 422."""
        obj = copied(body)
        meta = obj.setdefault("metadata", {})
        if meta.setdefault("namespace", namespace) != namespace:
            raise Failure(400, "the namespace of the provided object does not match the namespace sent on the request")
        self._uids += 1
        if not meta.get("name"):
            if not meta.get("generateName"):
                raise Failure(422, "metadata.name: Required value: name or generateName is required")
            meta["name"] = f"{meta['generateName']}{self._uids:05}"
        place = (resource, namespace, meta["name"])
        if place in self._kept:
            raise Failure(409, f'{resource.plural} "{meta["name"]}" already exists', "AlreadyExists")
        obj["apiVersion"], obj["kind"] = resource.api_version, resource.kind
        meta.setdefault("uid", f"uid-{self._uids}")
        meta.setdefault("creationTimestamp", timestamp(self.clock()))
        meta.setdefault("generation", 1)
        self._write(place, obj)
        return copied(obj)

    def merge(self, resource: Resource, namespace: str, name: str, patch: Object) -> Object:
        """Apply a merge patch. Raises Failure 404, or 409 when it names another UID or resource version."""
        obj = self._find(resource, namespace, name)
        wanted = patch.get("metadata") or {}
        if wanted.get("uid", obj["metadata"]["uid"]) != obj["metadata"]["uid"]:
            raise self._other_uid(resource, obj, wanted["uid"])
        self._check_version(resource, obj, wanted.get("resourceVersion"))
        return self._update((resource, namespace, name), obj, merged(obj, patch))

    def step(self, resource: Resource, namespace: str, name: str, steps: list[Object]) -> Object:
        """Apply a JSON patch. Raises Failure 404, or 422 when a step cannot be applied."""
        obj = self._find(resource, namespace, name)
        return self._update((resource, namespace, name), obj, stepped(obj, steps))

    def replace_status(self, resource: Resource, namespace: str, name: str, body: Object) -> Object:
        """Replace the status and nothing else. Raises Failure 404, 409 or 422."""
        obj = self._find(resource, namespace, name)
        meta = body["metadata"]
        if not meta.get("resourceVersion"):
            raise Failure(422, "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update")
        if meta.get("uid", obj["metadata"]["uid"]) != obj["metadata"]["uid"]:
            raise self._other_uid(resource, obj, meta["uid"])
        self._check_version(resource, obj, meta["resourceVersion"])
        status = copied(body.get("status"))
        if resource.kind in names.OWNER_LABELS and status is not None:
            status = stored_status(status, resource.kind)
        return self._update((resource, namespace, name), obj, {**obj, "status": status})

    def delete(self, resource: Resource, namespace: str, name: str, options: Object | None = None) -> Object | None:
        """Delete an object; return it while finalizers keep it, or None. Raises Failure 404 or 409."""
        obj, options = self._find(resource, namespace, name), options or {}
        conditions = options.get("preconditions") or {}
        if conditions.get("uid", obj["metadata"]["uid"]) != obj["metadata"]["uid"]:
            raise self._other_uid(resource, obj, conditions["uid"])
        self._check_version(resource, obj, conditions.get("resourceVersion"))
        changed = copied(obj)
        meta = changed["metadata"]
        if options.get("propagationPolicy") == "Orphan":
            self._orphan(meta["uid"])
        if options.get("propagationPolicy") == "Foreground":
            meta["finalizers"] = sorted({*(meta.get("finalizers") or []), FOREGROUND})
        if options.get("gracePeriodSeconds") == 0:
            meta["finalizers"] = [name for name in meta.get("finalizers") or [] if name != NODE]
            meta["deletionGracePeriodSeconds"] = 0
        meta.setdefault("deletionTimestamp", timestamp(self.clock()))
        self._update((resource, namespace, name), obj, changed)
        return self.find(resource, namespace, name)

    def collect_garbage(self) -> None:
        """Do the garbage collector's work, to its end."""
        while self.collects_garbage and any(self._collect(place, obj) for place, obj in list(self._kept.items())):
            pass

    def _collect(self, place: _Place, obj: Object) -> bool:
        if self._kept.get(place) is not obj:
            return False
        meta = obj["metadata"]
        owners = meta.get("ownerReferences") or []
        uids = {other["metadata"]["uid"] for other in self._kept.values()}
        is_going = "deletionTimestamp" in meta
        if owners and not is_going and not any(owner["uid"] in uids for owner in owners):
            self.delete(*place)
            return True
        if not is_going or FOREGROUND not in (meta.get("finalizers") or []):
            return False
        dependents = list(self._dependents(meta["uid"]))
        for (resource, namespace, name), other, _ in dependents:
            if "deletionTimestamp" not in other["metadata"]:
                self.delete(resource, namespace, name, {"propagationPolicy": "Foreground"})
                return True
        if any(blocks for _, _, blocks in dependents):
            return False
        left = [name for name in meta["finalizers"] if name != FOREGROUND]
        self._update(place, obj, {**obj, "metadata": {**meta, "finalizers": left}})
        return True

    def _orphan(self, uid: str) -> None:
        """Remove the references to an owner, as the garbage collector does before the owner goes."""
        for place, other, _ in list(self._dependents(uid)):
            owners = [owner for owner in other["metadata"]["ownerReferences"] if owner["uid"] != uid]
            changed = copied(other)
            changed["metadata"]["ownerReferences"] = owners
            self._update(place, other, changed)

    def _dependents(self, uid: str) -> Iterator[tuple[_Place, Object, bool]]:
        for place, obj in self._kept.items():
            for owner in obj["metadata"].get("ownerReferences") or []:
                if owner["uid"] == uid:
                    yield place, obj, bool(owner.get("blockOwnerDeletion"))

    def _find(self, resource: Resource, namespace: str, name: str) -> Object:
        found = self._kept.get((resource, namespace, name))
        if found is None:
            raise Failure(404, f'{resource.plural} "{name}" not found')
        return found

    def _update(self, place: _Place, old: Object, new: Object) -> Object:
        for field in ("name", "namespace", "uid", "creationTimestamp"):
            if new["metadata"].get(field) != old["metadata"].get(field):
                raise Failure(422, f"metadata.{field}: Invalid value: field is immutable")
        if new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] = old["metadata"]["generation"] + 1
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            del self._kept[place]
            self.version += 1
            new["metadata"]["resourceVersion"] = str(self.version)
            self._changes.append((self.version, "DELETED", place[0], copied(new)))
            self.on_change()
        elif new != old:  # a write that changes nothing makes no new version
            self._write(place, new)
        return copied(new)

    def _write(self, place: _Place, obj: Object) -> None:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        what = "MODIFIED" if place in self._kept else "ADDED"
        self._kept[place] = obj
        self._changes.append((self.version, what, place[0], copied(obj)))
        self.on_change()

    @staticmethod
    def _check_version(resource: Resource, obj: Object, version: str | None) -> None:
        if version is not None and version != obj["metadata"]["resourceVersion"]:
            raise Failure(
                409,
                f'Operation cannot be fulfilled on {resource.plural} "{obj["metadata"]["name"]}": the object has been '
                "modified; please apply your changes to the latest version and try again",
            )

    @staticmethod
    def _other_uid(resource: Resource, obj: Object, uid: str) -> Failure:
        return Failure(
            409,
            f'Operation cannot be fulfilled on {resource.plural} "{obj["metadata"]["name"]}": Precondition failed: '
            f"UID in precondition: {uid}, UID in object meta: {obj['metadata']['uid']}",
        )
