"""References to SharedClusters: ``NAME`` or ``NAME/NAMESPACE``, with the priority and share of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flowcluster.clusters.manifest import Object
from flowcluster.errors import ClusterError
from flowcluster_api import names

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
#: Priorities that ``cluster.ref.priority`` of a FlowRun can have.
_PRIORITIES = range(-100, 101)


def shared_ref(cluster: str, priority: int | None = None, share: Mapping[str, Any] | None = None) -> Object:
    """Return ``spec.cluster.ref`` of a FlowRun on a SharedCluster.

    Args:
        cluster: ``NAME``, or ``NAME/NAMESPACE`` for a SharedCluster of another namespace than the FlowRun's.
        priority: of the run's tasks among those of other runs; a larger number is scheduled first.
        share: the run's share: ``{"threads": 4}`` for at most four tasks in flight.

    Raises:
        ValueError: an argument is invalid; the message names it.
    """
    name, slash, namespace = cluster.partition("/") if isinstance(cluster, str) else ("", "", "")
    if not _LABEL.fullmatch(name) or (slash and not _LABEL.fullmatch(namespace)):
        raise ValueError(f"A SharedCluster is named as NAME or NAME/NAMESPACE, not {cluster!r}.")
    ref: Object = {"name": name} | ({"namespace": namespace} if namespace else {})
    if priority is not None:
        if not isinstance(priority, int) or isinstance(priority, bool) or priority not in _PRIORITIES:
            raise ValueError(f"priority must be a whole number from -100 to 100, not {priority!r}.")
        ref["priority"] = priority
    if share is not None:
        threads = share.get("threads") if isinstance(share, Mapping) and set(share) == {"threads"} else None
        if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
            raise ValueError(f"share must be {{'threads': N}} with N of 1 or more, not {share!r}.")
        ref["share"] = {"threads": threads}
    return ref


def describe_ref(ref: Mapping[str, Any]) -> str:
    """Return a description of a SharedCluster, for messages."""
    namespace = ref.get("namespace")
    return f"{names.SHARED_KIND} {ref['name']}" + (f" of namespace {namespace}" if namespace else "")


def check_kind(found: str, expected: str, ref: Mapping[str, Any]) -> None:
    """Raise `ClusterError` if a SharedCluster is of another kind than the class that uses it."""
    if found != expected:
        classes = {"Dask": "SharedKubernetesCluster", "Ray": "SharedRayKubernetesCluster"}
        raise ClusterError(f"{describe_ref(ref)} is a {found} cluster: use flowcluster.clusters.{classes[found]}.")


def fixed_size(ref: Mapping[str, Any], method: str) -> ClusterError:
    """Return the error for calls of ``scale`` and ``adapt``: a client cannot change the size of a SharedCluster."""
    return ClusterError(
        f"{method}() does not work on {describe_ref(ref)}: the number of its workers follows the work of all its "
        "users. Its bounds are spec.workers of the SharedCluster, which its administrator edits."
    )
