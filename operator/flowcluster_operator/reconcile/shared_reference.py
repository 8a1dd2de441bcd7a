"""The SharedCluster that a run names by `spec.cluster.ref`, as the store has it."""

from __future__ import annotations

from flowcluster_api import names
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.facts import pod_facts
from flowcluster_operator.kube import Kube
from flowcluster_operator.model import Key, Reference
from flowcluster_operator.reconcile.children import own_cluster, owned, read_owner
from flowcluster_operator.resources import LEASE, POD, Object
from flowcluster_operator.sharing import Place, allows, listed_in
from flowcluster_operator.store import Store


async def shared_reference(store: Store, kube: Kube, key: Key, spec: FlowRunSpec) -> Reference:
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
    cluster, is_listed = own_cluster(store, owner), key.uid in listed_in(owned(store, LEASE, owner))
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
    return Reference(cluster, leaders, has_service=True, shared=shared, keys=backend.keys(cluster))


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
