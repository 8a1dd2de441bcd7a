"""Whether a shared cluster is shut down because nothing runs on it, and whether it is wanted again."""

from __future__ import annotations

from flowcluster_api import names
from flowcluster_operator.policies.idleness import CONFIRMED_SECONDS
from flowcluster_operator.policies.shared.keeper import idle_seconds
from flowcluster_operator.resources import Object
from flowcluster_operator.shared_model import SharedObserved

#: Seconds between two looks that confirm the idleness.
_LOOK_SECONDS = 1.0


def idle_shutdown(seen: SharedObserved, status: Object) -> str | None:
    """Return one sentence about a cluster that is idle for too long; None while it works, or may work."""
    if not _is_idle(seen, status) or seen.base.driver is None or seen.spec is None:
        return None
    if seen.base.driver.idle_confirmed < CONFIRMED_SECONDS:
        return None
    limit = seen.spec.idle_shutdown_seconds
    return f"nothing has run on the cluster for {limit} s (spec.idleShutdownSeconds): a FlowRun that names it wakes it"


def next_look(seen: SharedObserved, status: Object) -> float | None:
    """Return seconds until the idleness is to be confirmed again; None where it is not too long."""
    return _LOOK_SECONDS if _is_idle(seen, status) else None


def is_wanted(seen: SharedObserved) -> bool:
    """Return whether a cluster that was shut down starts again: for a run, or because it is not to be shut down."""
    return bool(seen.users) or seen.spec is None or seen.spec.idle_shutdown_seconds is None


def has_grown(seen: SharedObserved) -> bool:
    """Return whether Ray's autoscaler keeps workers above the minimum: they have work, or had some seconds ago."""
    if seen.spec is None or seen.spec.kind != "Ray":
        return False
    live = sum(not pod.terminating and pod.ended is None for pod in seen.base.of(names.COMPONENT_WORKER))
    least = sum(part.minimum for part in (seen.spec.workers, *seen.spec.worker_groups) if part is not None)
    return live > least


def _is_idle(seen: SharedObserved, status: Object) -> bool:
    """Whether the keeper reports to be idle for too long, and nothing that the operator sees contradicts it."""
    limit = seen.spec.idle_shutdown_seconds if seen.spec is not None else None
    if limit is None or seen.users or "readyTime" not in status or status.get("phase") != "Ready":
        return False
    idle = idle_seconds(seen)
    return idle is not None and idle >= limit and not has_grown(seen)
