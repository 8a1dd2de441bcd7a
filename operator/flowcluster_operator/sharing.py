"""What FlowRuns and the SharedClusters that they name read of each other. Pure.

Both are read as the API server has them: the store asks at each change of one whether the other has to be looked at.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from flowcluster_api import conditions as c
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
    """

    place: Place
    priority: int
    threads: int | None
    is_live: bool


class Outlook(NamedTuple):
    """What owners on the other side of `spec.cluster.ref` read of an owner, in a form to compare.

    Attributes:
        all: what all of them read: a `Use`, or what a SharedCluster offers.
        listed: UIDs of the runs that the instructions of its keeper have. Each run reads whether it is one of them.
    """

    all: Any
    listed: frozenset[str] = frozenset()


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
    return Use(place, int(ref.get("priority") or 0), share, is_live)


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
    """Return the UIDs of the runs that the keeper's instructions in a Lease have."""
    found = keepers.read(lease) if lease is not None else None
    return frozenset(run.uid for run in found.runs) if found is not None else frozenset()


def is_usable(shared: Object) -> bool:
    """Return whether the scheduler or head of a SharedCluster takes connections, as its status has it."""
    status = shared.get("status") or {}
    return bool(status.get("name") and status.get("address") and status.get("scheduler"))
