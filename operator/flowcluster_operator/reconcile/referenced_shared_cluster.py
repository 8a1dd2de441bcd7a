"""The SharedCluster that a run names by `spec.cluster.ref`, as the store has it."""

from __future__ import annotations

import asyncio

from flowcluster_api import lease as leases
from flowcluster_api import names
from flowcluster_api.keeper import digest_of
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.references import CredentialExchangeState, Reference
from flowcluster_operator.pod_status import pod_facts
from flowcluster_operator.reconcile.children import own_cluster, owned, read_owner
from flowcluster_operator.reconcile.observe_common import of_lease
from flowcluster_operator.resources import JOB, LEASE, POD, Object
from flowcluster_operator.shared_cluster_use import NamespacedName, allows, has_same_operator, listed_in


async def shared_reference(
    store: Store, kube: Kube, memory: Memory, key: RunId, run: Object, spec: FlowRunSpec
) -> Reference:
    """Return the SharedCluster that a run names; an empty reference where there is none that allows its namespace.

    The reference has a cluster resource and credentials only under two conditions. The SharedCluster's status has a
    start time: without one, its cluster is stopped or being replaced. And the instructions of the keeper list the run:
    the keeper releases all that belongs to runs which are not listed, so no driver must begin before.
    """
    ref = spec.cluster.ref if spec.cluster is not None else None
    if ref is None:
        return Reference()
    owner = store.shared_key(NamespacedName(ref.namespace or key.namespace, ref.name))
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
    head_pods = tuple(pod for pod in pods if pod.component == names.HEAD_COMPONENTS[backend.kind])
    exchange = None
    if spec.flow is not None and key.namespace != owner.namespace:
        exchange = _exchange(store, memory, key, owner, has_same_operator(run, shared))
    return Reference(cluster, head_pods, True, shared, backend.credentials(cluster), exchange)


def _exchange(store: Store, memory: Memory, key: RunId, owner: RunId, is_ours: bool) -> CredentialExchangeState:
    """Return how far the exchange is that gives a run the credentials of a cluster of another namespace."""
    origin = copied_from(store, memory, key)
    lease = owned(store, LEASE, owner)
    if lease is None:
        return CredentialExchangeState(origin, has_same_operator=is_ours)
    memory.credential_exchanges.read(owner, lease)
    now = asyncio.get_running_loop().time()
    silent_for = memory.heartbeats.silent_for(owner, leases.read(lease).renewed, now)
    found = memory.credential_exchanges.of(key)
    if found is None:
        return CredentialExchangeState(origin, silent_for=silent_for, has_same_operator=is_ours)
    return CredentialExchangeState(
        origin, found.data is not None, now - found.since, silent_for, found.problem, is_ours
    )


def copied_from(store: Store, memory: Memory, key: RunId) -> str | None:
    """Return the name of the cluster's Secret that a run's own Secret is a copy of; None while it has none.

    A label of the Job has the name, so that the operator finds it after a restart.
    """
    if (job := owned(store, JOB, key)) is not None:
        return (job["metadata"].get("labels") or {}).get(names.LABEL_CREDENTIALS_OF)
    return (
        memory.credential_exchanges.origin(key)
        if of_lease(memory.credentials.get(key), owned(store, LEASE, key))
        else None
    )


def with_kind(spec: FlowRunSpec, reference: Reference, status: Object) -> FlowRunSpec:
    """Return the spec of a run that names a SharedCluster, with the kind of that cluster.

    Args:
        spec: of the run.
        reference: the SharedCluster.
        status: of the run: it has the kind of a SharedCluster that is gone.
    """
    if spec.cluster is None:
        return spec
    known = (status.get("cluster") or {}).get("kind")
    kind = reference.shared["spec"]["kind"] if reference.shared is not None else known
    return spec.model_copy(update={"cluster": spec.cluster.model_copy(update={"kind": kind})})
