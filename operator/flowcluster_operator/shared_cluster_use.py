"""How FlowRuns use SharedClusters: what a pass over one reads of the other. Pure.

A FlowRun and the SharedCluster that it names are peers. When one changes, the store compares what passes over the other
read of it, and wakes the other only for a difference.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from flowcluster_api import conditions as c
from flowcluster_api import handover
from flowcluster_api import keeper as keepers
from flowcluster_api.v1alpha1.spec import REFERENCED_KINDS
from flowcluster_operator.resources import Object


class NamespacedName(NamedTuple):
    """Namespace and name of a SharedCluster."""

    namespace: str
    name: str


class SharedClusterUse(NamedTuple):
    """How a FlowRun uses a SharedCluster: what a pass over the SharedCluster reads of it.

    Attributes:
        cluster: the SharedCluster.
        priority: of the run's tasks.
        threads: maximum tasks that the run has in flight; None without a limit.
        is_live: whether the run uses the cluster or waits for it: it is neither over, deleted nor suspended.
        has_driver: whether the operator creates a driver pod for it, which needs the cluster's credentials.
    """

    cluster: NamespacedName
    priority: int
    threads: int | None
    is_live: bool
    has_driver: bool = False


class PeerView(NamedTuple):
    """What its peers read of an owner, in a form to compare.

    Attributes:
        all: what all peers read: a `SharedClusterUse`, or the result of `offer_of`.
        single: what only one run each reads: the result of `single_in`.
    """

    all: Any
    single: frozenset[tuple[str, ...]] = frozenset()


def use_of(run: Object) -> SharedClusterUse | None:
    """Return how a FlowRun uses a SharedCluster; None where it names none."""
    spec, status = run.get("spec") or {}, run.get("status") or {}
    named = spec.get("cluster") or {}
    ref = named.get("ref")
    if not ref or named.get("kind") is not None or ref.get("kind") in REFERENCED_KINDS:
        return None
    share = (ref.get("share") or {}).get("threads")
    is_over = bool(status.get("finishTime")) or status.get("phase") in ("Stopping", *c.FINAL_PHASES)
    is_live = not (is_over or spec.get("suspend") or "deletionTimestamp" in run["metadata"])
    cluster = NamespacedName(ref.get("namespace") or run["metadata"]["namespace"], ref["name"])
    return SharedClusterUse(cluster, int(ref.get("priority") or 0), share, is_live, spec.get("flow") is not None)


def name_of(shared: Object) -> NamespacedName:
    """Return namespace and name of a SharedCluster."""
    return NamespacedName(shared["metadata"]["namespace"], shared["metadata"]["name"])


def allows(shared: Object, namespace: str) -> bool:
    """Return whether runs of a namespace can use a SharedCluster."""
    spec = shared.get("spec") or {}
    return namespace == shared["metadata"]["namespace"] or namespace in (spec.get("allowedNamespaces") or [])


def offer_of(shared: Object) -> tuple[Any, ...]:
    """Return what FlowRuns read of the SharedCluster that they name."""
    spec, status = shared.get("spec") or {}, shared.get("status") or {}
    identity = shared["metadata"]["uid"], "deletionTimestamp" in shared["metadata"]
    named = [status.get(field) for field in ("phase", "reason", "name", "address", "dashboard", "scheduler")]
    return (*identity, spec.get("kind"), spec.get("suspend"), spec.get("allowedNamespaces"), *named)


def listed_in(lease: Object | None) -> frozenset[str]:
    """Return the digests of the runs in the keeper's instructions, which the Lease has."""
    found = keepers.read(lease) if lease is not None else None
    return found.digests if found is not None else frozenset()


def single_in(lease: Object | None) -> frozenset[tuple[str, ...]]:
    """Return what only one run each reads in the root Lease of a SharedCluster.

    Each tuple begins with the digest of the run. A run has one tuple if the instructions list it, one for its request
    for credentials, and one for the answer.
    """
    if lease is None:
        return frozenset()
    listed = ((digest,) for digest in listed_in(lease))
    requests = ((keepers.digest_of(each.run), *each) for each in handover.requests_in(lease))
    answers = ((keepers.digest_of(each.run), *each) for each in handover.answers_in(lease))
    return frozenset([*listed, *requests, *answers])


def has_same_operator(run: Object, shared: Object) -> bool:
    """Return whether the same operator handles a FlowRun and a SharedCluster.

    Only the operator that requested the credentials can decrypt the keeper's answer.
    """
    specs = [owner.get("spec") or {} for owner in (run, shared)]
    recorded = {(owner.get("status") or {}).get("operator") for owner in (run, shared)} - {None}
    return specs[0].get("operatorClass") == specs[1].get("operatorClass") and len(recorded) < 2


def takes_connections(shared: Object) -> bool:
    """Return whether the scheduler or head of a SharedCluster takes connections, by its status."""
    status = shared.get("status") or {}
    return bool(status.get("name") and status.get("address") and status.get("scheduler"))
