"""Whether an owner has lost its cluster: its Dask scheduler or Ray head, its cluster resource, or its Lease.

The scheduler or head has all state of the flow on the cluster. A Deployment creates a new, empty scheduler in place of
a lost one. For the flow, that is not the same cluster.
"""

from __future__ import annotations

from flowcluster_api import names
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.pods import Blocked, PodFacts
from flowcluster_operator.policies.advice import advice
from flowcluster_operator.policies.causes import out_of_memory
from flowcluster_operator.policies.shared_cluster import shared_lost
from flowcluster_operator.policies.spec_fields import fields_of
from flowcluster_operator.resources import CLUSTERS, JOB, LEASE, Object

#: Kinds of objects that only exist together with the Lease: an orphan of such a kind shows that there was a Lease.
_OF_LEASE = [resource.kind for resource in (*CLUSTERS, JOB, LEASE)]


def lease_lost(observed: Observed, status: Object) -> str | None:
    """Return one sentence on the deletion of the run's Lease; None while it exists.

    The Lease controls all objects of the run, so they are deleted with it. A run that has no object yet gets another
    Lease.
    """
    lease = observed.lease
    if lease is not None and "deletionTimestamp" not in lease["metadata"]:
        return None
    known = not observed.uses_existing_cluster and (status.get("cluster") or {}).get("name")
    named = known or (status.get("flow") or {}).get("job")
    left = [obj for obj in observed.orphans if obj["kind"] in _OF_LEASE]
    if not (named or observed.cluster or observed.job or left):
        return None
    owner = _owner(observed)
    return f"the {owner}'s Lease was deleted, and with it all that the {owner} had"


def _owner(observed: Observed) -> str:
    return "run" if observed.key.kind == names.KIND else "shared cluster"


def cluster_lost(observed: Observed, status: Object) -> str | None:
    """Return one sentence on how the cluster was lost; None while it is not, or was never ready."""
    known: Object = status.get("cluster") or {}
    if not known.get("name"):
        return None
    if observed.uses_shared:
        return shared_lost(observed, known)
    if observed.uses_existing_cluster:
        return _reference_lost(observed, known) if known.get("scheduler") else None
    if observed.cluster is None or "deletionTimestamp" in observed.cluster["metadata"]:
        return f"{known['kind']}Cluster {known['name']} was deleted while the {_owner(observed)} needed it"
    head = known.get("scheduler")
    return None if head is None else _head_lost(observed, known["kind"], head)


def _reference_lost(observed: Observed, known: Object) -> str | None:
    """Return how the cluster that spec.cluster.ref names was lost, once it was usable."""
    name, cluster = f"{known['kind']}Cluster {known['name']} (spec.cluster.ref)", observed.referenced
    if cluster is None:
        return f"{name} was deleted while the run used it"
    if "deletionTimestamp" in cluster["metadata"]:
        return f"{name} is being deleted while the run uses it"
    lost = _head_lost(observed, known["kind"], known["scheduler"])
    return f"{name}: {lost}" if lost is not None else None


def _head_lost(observed: Observed, kind: str, head: Object) -> str | None:
    """Return how the scheduler or head was lost that the run has used.

    Args:
        observed: the run.
        kind: of the cluster.
        head: pod, UID and restarts of the scheduler or head, as the status has them.
    """
    pod = next((pod for pod in observed.head_pods() if pod.uid == head["uid"]), None)
    if pod is None:
        return f"pod {head['pod']} was removed, and with it all state of the cluster"
    if pod.terminating:
        return f"the {pod.component}'s pod {pod.name} was removed{_why(pod, kind, observed)}: all its state is gone"
    if pod.restarts > head.get("restarts", 0) or pod.ended is not None:
        return f"the {pod.component} in pod {pod.name} ended{_why(pod, kind, observed)}: all its state is gone"
    return None


def _why(pod: PodFacts, kind: str, observed: Observed) -> str:
    """Return why the pod's main container ended, in parentheses; empty where no cause is known.

    It has advice only for the run's own cluster: no field of the run's spec changes another one.
    """
    if observed.uses_existing_cluster:
        known = pod.failure or pod.disrupted or pod.last_end
        return f" ({_text(known)})" if known is not None else ""
    killed = pod.out_of_memory
    if pod.failure is None and killed is not None and killed.container in names.HEAD_COMPONENTS.values():
        return f" ({out_of_memory(pod.component, kind, pod.name, killed)})"
    if taken := pod.failure or pod.disrupted:
        return f" ({_text(taken)}; {advice(taken, fields_of(pod.component, kind), pod.component, pod.name)})"
    return f" ({pod.last_end.message})" if pod.last_end is not None else ""


def _text(blocked: Blocked) -> str:
    return f"{blocked.reason}: {blocked.message}"
