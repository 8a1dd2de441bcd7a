"""Whether a run can use the SharedCluster that `spec.cluster.ref` names, and whether it has lost it.

The status of the SharedCluster decides. The pass over the SharedCluster observes its pods, and writes a loss into its
status immediately. A change of that status wakes the runs that name it.
"""

from __future__ import annotations

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_api.keeper import room
from flowcluster_operator.desired.credentials import credentials_in
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.policies.credential_exchange import pending_exchange, why_pending
from flowcluster_operator.resources import Object
from flowcluster_operator.shared_cluster_use import takes_connections


def can_use(observed: Observed) -> bool:
    """Return whether the scheduler or head takes connections, and the run's driver has or can mount the credentials."""
    return _takes_connections(observed) and pending_exchange(observed) is None


def why_unusable(observed: Observed) -> tuple[str, str] | None:
    """Return the reason and one sentence why the run cannot use the cluster yet; None where it can."""
    name, shared = shared_name(observed), observed.reference.shared
    if shared is None:
        return (
            c.CLUSTER_NOT_FOUND,
            f"there is no {name} (spec.cluster.ref) that namespace {observed.key.namespace} can use",
        )
    if "deletionTimestamp" in shared["metadata"]:
        return c.CLUSTER_NOT_READY, f"{name} (spec.cluster.ref) is being deleted"
    if _takes_connections(observed):
        return why_pending(observed, name)
    status: Object = shared.get("status") or {}
    phase = status.get("phase") or "Pending"
    if shared["spec"].get("suspend") or phase == "Suspended":
        return c.SUSPENDED, f"{name} (spec.cluster.ref) is suspended: set suspend in its spec to false"
    if phase == "Sleeping":
        return c.WAKING, f"waiting for {name}, which was shut down while nothing ran on it, and starts again"
    if phase == "Failed":
        return c.CLUSTER_NOT_READY, f"{name} (spec.cluster.ref) is Failed: {status.get('message') or ''}"
    if phase == "Ready":  # the instructions of its keeper do not have the run yet
        return c.WAITING, f"waiting to join {name}{_crowd(status)}"
    return c.WAITING, f"waiting for {name} ({phase})"


def _crowd(status: Object) -> str:
    """Return why a run may wait long to be in the keeper's instructions; empty where these have room for all runs."""
    runs = int(status.get("runs") or 0)
    return f": {runs} runs use it or wait for it, and its keeper handles {room()} at a time" if runs > room() else ""


def _takes_connections(observed: Observed) -> bool:
    found = observed.reference
    return found.shared is not None and found.cluster is not None and takes_connections(found.shared)


def shared_uid(observed: Observed) -> str | None:
    """Return the UID of the SharedCluster that the run uses; None where it names none, or there is none."""
    shared = observed.reference.shared
    return None if shared is None else str(shared["metadata"]["uid"])


def used_cluster(observed: Observed, known: Object) -> Object:
    """Return the cluster for the status of a run that is on a SharedCluster.

    Args:
        observed: the run.
        known: the cluster in the run's status so far. Its scheduler or head stays: it is the one that the run uses.
    """
    shared = observed.reference.shared
    if shared is None:
        return known
    status: Object = shared["status"]
    endpoints: Object = {field: status[field] for field in ("address", "dashboard") if field in status}
    return {**known, **endpoints, "scheduler": known.get("scheduler") or status["scheduler"]}


def shared_lost(observed: Observed, known: Object) -> str | None:
    """Return one sentence on how the run lost the cluster that it used; None while it has it.

    Args:
        observed: the run.
        known: the cluster in the run's status.
    """
    name, shared, began_with = shared_name(observed), observed.reference.shared, known.get("scheduler")
    if began_with is None:
        return _replaced_before_use(observed, name)
    if shared is None:
        return (
            f"{name} (spec.cluster.ref) was deleted while the run used it, or cannot be used by its namespace any more"
        )
    if "deletionTimestamp" in shared["metadata"]:
        return f"{name} (spec.cluster.ref) is being deleted while the run uses it"
    status: Object = shared.get("status") or {}
    now = status.get("scheduler")
    if now is None:
        return f"{name} (spec.cluster.ref): {status.get('message') or status.get('phase')}"
    if _identity(now) != _identity(began_with) or _has_ended(observed, began_with):
        return (
            f"{name} (spec.cluster.ref): the scheduler or head in pod {began_with['pod']} ended: all its state is gone"
        )
    return None


def shared_name(observed: Observed) -> str:
    """Return what messages call the cluster."""
    ref = observed.spec.cluster.ref if observed.spec.cluster is not None else None
    if ref is None:
        return "the cluster"
    return f"SharedCluster {ref.name}" if ref.namespace is None else f"SharedCluster {ref.namespace}/{ref.name}"


def _replaced_before_use(observed: Observed, name: str) -> str | None:
    """Return how a cluster was lost that the run has not used yet; None while the Job has the right credentials.

    A driver with the credentials of a replaced cluster would wait in vain. So would a driver of another namespace that
    may no longer use the cluster.
    """
    job, credentials = observed.job, observed.reference.credentials
    if job is None:
        return None
    copied = (job["metadata"].get("labels") or {}).get(names.LABEL_CREDENTIALS_OF)
    if copied is not None and observed.reference.shared is None:
        return (
            f"{name} (spec.cluster.ref) was deleted while the run started, or cannot be used by its namespace any more"
        )
    if credentials is None:
        return None
    given = copied or credentials_in(job["spec"]["template"]["spec"])
    is_replaced = given not in (None, credentials)
    return f"{name} (spec.cluster.ref) was replaced while the run started" if is_replaced else None


def _has_ended(observed: Observed, began_with: Object) -> bool:
    """Return whether the scheduler or head has ended. The status of the SharedCluster may not show it yet."""
    pod = next((pod for pod in observed.reference.head_pods if pod.uid == began_with["uid"]), None)
    if pod is None:
        return False
    return pod.terminating or pod.ended is not None or pod.restarts > began_with.get("restarts", 0)


def _identity(scheduler: Object) -> tuple[str, int]:
    return scheduler["uid"], int(scheduler.get("restarts") or 0)
