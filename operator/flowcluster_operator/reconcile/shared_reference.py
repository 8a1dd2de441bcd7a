"""The SharedCluster that a run names by `spec.cluster.ref`, as the store has it."""

from __future__ import annotations

import asyncio

from flowcluster_api import lease as leases
from flowcluster_api import names
from flowcluster_api.keeper import digest_of
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.facts import pod_facts
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model import Handover, Key, Reference
from flowcluster_operator.reconcile.children import own_cluster, owned, read_owner
from flowcluster_operator.reconcile.reading import of_lease
from flowcluster_operator.resources import JOB, LEASE, POD, Object
from flowcluster_operator.sharing import Place, allows, has_same_operator, listed_in
from flowcluster_operator.store import Store


async def shared_reference(
    store: Store, kube: Kube, memory: Memory, key: Key, run: Object, spec: FlowRunSpec
) -> Reference:
    """Return the SharedCluster that a run names; an empty reference where there is none that allows its namespace.

    It has a cluster resource and credentials while its status has the start of a cluster: those of one that is stopped
    or replaced end with it. It has them for the run once the instructions of its keeper have the run: the keeper
    releases what belongs to other runs, so no driver must begin before.
    """
    assert spec.cluster is not None
    assert spec.cluster.ref is not None
    ref = spec.cluster.ref
    owner = store.shared_key(Place(ref.namespace or key.namespace, ref.name))
    shared = await read_owner(store, kube, owner) if owner is not None else None
    if owner is None or shared is None or not allows(shared, key.namespace):
        return Reference()
    cluster, is_listed = own_cluster(store, owner), digest_of(key.uid) in listed_in(owned(store, LEASE, owner))
    if (
        not is_listed
        or cluster is None
        or "deletionTimestamp" in cluster["metadata"]
        or "startTime" not in (shared.get("status") or {})
    ):
        return Reference(shared=shared)
    backend = BACKENDS[shared["spec"]["kind"]]
    pods = [pod_facts(pod) for pod in store.children(owner, POD)]
    leaders = tuple(pod for pod in pods if pod.component == names.LEADERS[backend.kind])
    handover = None
    if spec.flow is not None and key.namespace != owner.namespace:
        handover = _handover(store, memory, key, owner, has_same_operator(run, shared))
    return Reference(cluster, leaders, True, shared, backend.keys(cluster), handover)


def _handover(store: Store, memory: Memory, key: Key, owner: Key, is_ours: bool) -> Handover:
    """Return how far the credentials of a cluster of another namespace are on their way to a run."""
    made_of = copied_from(store, memory, key)
    lease = owned(store, LEASE, owner)
    if lease is None:
        return Handover(made_of, has_same_operator=is_ours)
    memory.handovers.read(owner, lease)
    now = asyncio.get_running_loop().time()
    silent = memory.silences.seconds(owner, leases.read(lease).renewed, now)
    found = memory.handovers.of(key)
    if found is None:
        return Handover(made_of, silent=silent, has_same_operator=is_ours)
    return Handover(made_of, found.data is not None, now - found.since, silent, found.problem, is_ours)


def copied_from(store: Store, memory: Memory, key: Key) -> str | None:
    """Return the name of the cluster's Secret whose content the own Secret of a run has; None while it has none.

    The Job names it: an operator that starts again finds it there.
    """
    if (job := owned(store, JOB, key)) is not None:
        return (job["metadata"].get("labels") or {}).get(names.LABEL_CREDENTIALS_OF)
    return memory.handovers.origin(key) if of_lease(memory.keys.get(key), owned(store, LEASE, key)) else None


def with_kind(spec: FlowRunSpec, reference: Reference, status: Object) -> FlowRunSpec:
    """Return the spec of a run that names a SharedCluster, with the kind of that cluster.

    Args:
        spec: of the run.
        reference: the SharedCluster.
        status: of the run: it has the kind of a SharedCluster that is gone.
    """
    assert spec.cluster is not None
    known = (status.get("cluster") or {}).get("kind")
    kind = reference.shared["spec"]["kind"] if reference.shared is not None else known
    return spec.model_copy(update={"cluster": spec.cluster.model_copy(update={"kind": kind})})
