"""What FlowRuns and the SharedClusters that they name read of each other. Pure.

Both are read as the API server has them: the store asks at each change of one whether the other has to be looked at.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from flowcluster_api import conditions as c
from flowcluster_api import handover
from flowcluster_api import keeper as keepers
from flowcluster_api.v1alpha1.spec import REFERENCED_KINDS
from flowcluster_operator.resources import Object


class Place(NamedTuple):
    """Where a SharedCluster is."""

    namespace: str
    name: str


class Use(NamedTuple):
    """What a SharedCluster reads of a FlowRun that names it.

    Attributes:
        place: the SharedCluster.
        priority: of the run's tasks.
        threads: tasks that the run has in flight at most; None without a limit.
        is_live: whether the run is on the cluster, or waits for it. It is neither over nor suspended.
        has_driver: whether the operator creates a driver pod for it, which needs the cluster's credentials.
    """

    place: Place
    priority: int
    threads: int | None
    is_live: bool
    has_driver: bool = False


class Outlook(NamedTuple):
    """What owners on the other side of `spec.cluster.ref` read of an owner, in a form to compare.

    Attributes:
        all: what all of them read: a `Use`, or what a SharedCluster offers.
        single: what single runs read, as `single_in` returns it.
    """

    all: Any
    single: frozenset[tuple[str, ...]] = frozenset()


def use_of(run: Object) -> Use | None:
    """Return how a FlowRun uses a SharedCluster; None where it names none."""
    spec, status = run.get("spec") or {}, run.get("status") or {}
    cluster = spec.get("cluster") or {}
    ref = cluster.get("ref")
    if not ref or cluster.get("kind") is not None or ref.get("kind") in REFERENCED_KINDS:
        return None
    share = (ref.get("share") or {}).get("threads")
    is_over = bool(status.get("finishTime")) or status.get("phase") in ("Stopping", *c.FINAL_PHASES)
    is_live = not (is_over or spec.get("suspend") or "deletionTimestamp" in run["metadata"])
    place = Place(ref.get("namespace") or run["metadata"]["namespace"], ref["name"])
    return Use(place, int(ref.get("priority") or 0), share, is_live, spec.get("flow") is not None)


def place_of(shared: Object) -> Place:
    """Return where a SharedCluster is."""
    return Place(shared["metadata"]["namespace"], shared["metadata"]["name"])


def allows(shared: Object, namespace: str) -> bool:
    """Return whether runs of a namespace may use a SharedCluster."""
    spec = shared.get("spec") or {}
    return namespace == shared["metadata"]["namespace"] or namespace in (spec.get("allowedNamespaces") or [])


def offer_of(shared: Object) -> tuple[Any, ...]:
    """Return what FlowRuns read of the SharedCluster that they name."""
    spec, status = shared.get("spec") or {}, shared.get("status") or {}
    identity = shared["metadata"]["uid"], "deletionTimestamp" in shared["metadata"]
    named = [status.get(field) for field in ("phase", "reason", "name", "address", "dashboard", "scheduler")]
    return (*identity, spec.get("kind"), spec.get("suspend"), spec.get("allowedNamespaces"), *named)


def listed_in(lease: Object | None) -> frozenset[str]:
    """Return the digests of the runs that the keeper's instructions in a Lease have."""
    found = keepers.read(lease) if lease is not None else None
    return found.digests if found is not None else frozenset()


def single_in(lease: Object | None) -> frozenset[tuple[str, ...]]:
    """Return what single runs read in the root Lease of a SharedCluster: tuples that begin with the digest of the run.

    These are whether the instructions list the run, the request for its credentials, and the answer to that.
    """
    if lease is None:
        return frozenset()
    listed = ((digest,) for digest in listed_in(lease))
    requests = ((keepers.digest_of(each.run), *each) for each in handover.requests_in(lease))
    answers = ((keepers.digest_of(each.run), *each) for each in handover.answers_in(lease))
    return frozenset([*listed, *requests, *answers])


def has_same_operator(run: Object, shared: Object) -> bool:
    """Return whether one operator handles a FlowRun and a SharedCluster: no other one has the keys to an answer."""
    specs = [owner.get("spec") or {} for owner in (run, shared)]
    recorded = {(owner.get("status") or {}).get("operator") for owner in (run, shared)} - {None}
    return specs[0].get("operatorClass") == specs[1].get("operatorClass") and len(recorded) < 2


def is_usable(shared: Object) -> bool:
    """Return whether the scheduler or head of a SharedCluster takes connections, as its status has it."""
    status = shared.get("status") or {}
    return bool(status.get("name") and status.get("address") and status.get("scheduler"))
