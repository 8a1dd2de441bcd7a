"""The fields of an object that the store keeps: those that decisions read. Pure.

An object of the API server takes 10 to 40 KiB of memory, half of it for managed fields, and 1,000 runs have more than
20,000 objects. The table `_KINDS` names the fields of each kind. Add a field there before a decision reads it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_operator.desired.credentials import CREDENTIALS_VOLUME
from flowcluster_operator.model.conditions import is_true
from flowcluster_operator.resources import (
    DASK_CLUSTER,
    DASK_WORKER_GROUP,
    DEPLOYMENT,
    FLOW_RUN,
    JOB,
    LAST_HANDLED,
    LEASE,
    POD,
    RAY_CLUSTER,
    SHARED_CLUSTER,
    Object,
    Resource,
)  # fmt: skip


class _All:
    """Keep a value as it is."""


class _Presence:
    """Keep only whether a field exists: its value becomes an empty text."""


class _Items(NamedTuple):
    """Keep fields of the items of a list: of items whose field `by` has one of `values`, or of all without `by`."""

    fields: Mapping[str, Any]
    by: str = ""
    values: tuple[str, ...] = ()


_ALL, _PRESENCE = _All(), _Presence()


def _fields(*named: str, **nested: Any) -> dict[str, Any]:
    return {**dict.fromkeys(named, _ALL), **nested}


_METADATA = _fields(
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "finalizers",
    labels=_fields(
        *names.OWNER_LABELS.values(),
        names.LABEL_RUN_UID,
        names.LABEL_COMPONENT,
        names.LABEL_WORKER_GROUP,
        names.LABEL_TEMPLATE,
        names.LABEL_CREDENTIALS_OF,
    ),
    ownerReferences=_Items(_fields("apiVersion", "kind", "name", "uid", "controller")),
)
_KEYS = _fields(volumes=_Items(_fields("name", secret=_fields("secretName")), "name", (CREDENTIALS_VOLUME,)))
_CONDITION = _fields("type", "status", "reason", "message")
_END = _fields("exitCode", "reason", "message")
_CONTAINER_STATE = _fields(running={}, waiting=_fields("reason", "message"), terminated=_END)
_CONTAINER_STATUS = _Items(
    _fields("name", "ready", "restartCount", state=_CONTAINER_STATE, lastState=_fields(terminated=_END))
)
_CONTAINER = _Items(_fields("name", "livenessProbe", resources=_fields(limits=_fields("memory"))))
_POD = _fields(
    metadata={**_METADATA, "deletionGracePeriodSeconds": _ALL},
    spec=_fields(containers=_CONTAINER, initContainers=_CONTAINER),
    status=_fields(
        "phase",
        "reason",
        "message",
        conditions=_Items(
            _fields("type", "status", "reason", "message", "lastTransitionTime"),
            "type",
            ("PodScheduled", "Ready", "DisruptionTarget"),
        ),
        containerStatuses=_CONTAINER_STATUS,
        initContainerStatuses=_CONTAINER_STATUS,
    ),
)
_JOB = _fields(
    spec=_fields("backoffLimit", template=_fields(spec=_KEYS)),
    status=_fields(conditions=_Items(_CONDITION, "type", ("Complete", "Failed", "Suspended"))),
)
_HANDLED = {**_METADATA, "annotations": {LAST_HANDLED: _PRESENCE}}
_DASK_CLUSTER = _fields(
    metadata=_HANDLED,
    spec=_fields(worker=_fields("replicas", spec=_KEYS)),
    status=_fields("phase"),
)
_RAY_CLUSTER = _fields(
    spec=_fields(
        authOptions=_fields("mode", "secretName"),
        workerGroupSpecs=_Items(_fields("replicas", "minReplicas", "maxReplicas")),
    ),
    status=_fields(conditions=_Items(_CONDITION)),
)
#: Fields by kind, besides `_METADATA`. Of kinds that are not here, only metadata is read.
_KINDS: dict[Resource, dict[str, Any]] = {
    POD: _POD,
    JOB: _JOB,
    DASK_CLUSTER: _DASK_CLUSTER,
    DASK_WORKER_GROUP: _fields(metadata=_HANDLED, spec=_fields(worker=_fields("replicas"))),
    RAY_CLUSTER: _RAY_CLUSTER,
    DEPLOYMENT: _fields(status=_fields(conditions=_Items(_CONDITION, "type", ("ReplicaFailure",)))),
}
#: Kinds whose objects are kept whole, except for large fields that are not read.
_WHOLE = (FLOW_RUN, SHARED_CLUSTER, LEASE)
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
#: Fields of the FlowRun of a finished run that only waits to be deleted. Its expiry, its child runs, the requests of
#: its driver and the choice of the operator that handles it read them.
_RECORD = _fields(
    metadata=_METADATA,
    spec=_fields(
        "cancel",
        "suspend",
        "ttlSecondsAfterFinished",
        "operatorClass",
        cluster=_fields("kind", workers=_fields("minimum", "maximum")),
    ),
    status=_fields(
        "phase", "finishTime", "operator", conditions=_Items(_CONDITION, "type", (c.FINISHED, c.CLUSTER_DELETED))
    ),
)
#: Maximum characters of a text that objects share in memory: longer texts differ between objects.
_LONGEST_SHARED = 80


def projected(resource: Resource, obj: Object) -> Object:
    """Return the fields of an object that decisions read; the object itself is not changed.

    The result has the kind and version of `resource`: items of lists lack them for built-in kinds, and objects whose
    metadata only was requested have others.
    """
    kind = {"apiVersion": resource.api_version, "kind": resource.kind}
    if resource is FLOW_RUN and _is_record(obj.get("status") or {}):
        return kind | _picked(obj, _RECORD)
    if resource in _WHOLE:
        return kind | {name: _shared(value) for name, value in _trimmed(obj).items() if name not in kind}
    return kind | {"metadata": _picked(obj["metadata"], _METADATA)} | _picked(obj, _KINDS.get(resource, {}))


def is_metadata_only(resource: Resource) -> bool:
    """Return whether decisions read only metadata of objects of that kind."""
    return resource not in _WHOLE and resource not in _KINDS


def _is_record(status: Object) -> bool:
    """Return whether a run has ended and nothing of it is left, so that its status is never written again."""
    is_over = status.get("phase") in c.FINAL_PHASES and bool(status.get("finishTime"))
    return is_over and is_true(status, c.FINISHED) and is_true(status, c.CLUSTER_DELETED)


def _trimmed(obj: Object) -> Object:
    meta = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    if annotations := meta.get("annotations"):
        meta["annotations"] = {name: text for name, text in annotations.items() if name != _LAST_APPLIED}
    return {**obj, "metadata": meta}


def _picked(obj: Mapping[str, Any], fields: Mapping[str, Any]) -> Object:
    picked: Object = {}
    for name, wanted in fields.items():
        if name not in obj:
            continue
        value = obj[name]
        if isinstance(wanted, _Items) and isinstance(value, list):
            items = value if not wanted.by else [item for item in value if item.get(wanted.by) in wanted.values]
            picked[name] = [_picked(item, wanted.fields) for item in items]
        elif isinstance(wanted, dict) and isinstance(value, dict):
            picked[name] = _picked(value, wanted)
        elif wanted is _PRESENCE:
            picked[name] = ""
        else:
            picked[name] = _shared(value)
    return picked


def _shared(value: Any) -> Any:
    """Return the value, with interned short texts: all objects of a run have the same names and UIDs."""
    if isinstance(value, str):
        return sys.intern(value) if len(value) <= _LONGEST_SHARED else value
    if isinstance(value, dict):
        return {sys.intern(name): _shared(item) for name, item in value.items()}
    return [_shared(item) for item in value] if isinstance(value, list) else value
