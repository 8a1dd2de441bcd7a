"""Whether a shared cluster is shut down because nothing runs on it, and whether it has to start again."""

from __future__ import annotations

from flowcluster_api import names
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.model.shared import SharedObserved
from flowcluster_operator.policies.idleness import CONFIRMED_SECONDS
from flowcluster_operator.policies.shared.keeper import idle_seconds
from flowcluster_operator.resources import Object

#: Seconds between two checks that confirm the idleness.
_CHECK_SECONDS = 1.0


def idle_shutdown(seen: SharedObserved, status: Object) -> str | None:
    """Return one sentence about a cluster that is idle for too long; None while it works, or may work."""
    if not _is_idle(seen, status) or seen.base.driver is None:
        return None
    if seen.base.driver.idle_confirmed_for < CONFIRMED_SECONDS:
        return None
    limit = seen.spec.idle_shutdown_seconds
    return f"nothing has run on the cluster for {limit} s (spec.idleShutdownSeconds): a FlowRun that names it wakes it"


def next_check(seen: SharedObserved, status: Object) -> float | None:
    """Return the seconds until the next check of the idleness; None where the cluster is not idle for too long."""
    return _CHECK_SECONDS if _is_idle(seen, status) else None


def is_needed(seen: SharedObserved) -> bool:
    """Return whether a cluster that was shut down must start again: a run needs it, or idle shutdown is turned off."""
    return bool(seen.users) or seen.spec.idle_shutdown_seconds is None


def has_grown(seen: SharedObserved) -> bool:
    """Return whether the cluster's own autoscaler keeps workers above the minimum.

    Such workers have work, or had some seconds ago.
    """
    if not BACKENDS[seen.spec.kind].scales_itself:
        return False
    minimum = sum(group.minimum for group in (seen.spec.workers, *seen.spec.worker_groups) if group is not None)
    return seen.base.live(names.COMPONENT_WORKER) > minimum


def _is_idle(seen: SharedObserved, status: Object) -> bool:
    """Return whether the keeper reports the cluster as idle for too long, and no other observation contradicts it."""
    limit = seen.spec.idle_shutdown_seconds
    if limit is None or seen.users or "readyTime" not in status or status.get("phase") != "Ready":
        return False
    idle = idle_seconds(seen)
    return idle is not None and idle >= limit and not has_grown(seen)
