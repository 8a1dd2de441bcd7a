"""What passes over runs and over shared clusters observe in the same way."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Any

from flowcluster_operator.backends.base import Backend
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.desired.credentials import credentials_in
from flowcluster_operator.desired.metadata import root_name
from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model.identity import RunId, name_and_uid
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.pods import PodFacts
from flowcluster_operator.reconcile.children import owned
from flowcluster_operator.reconcile.verify_deleted import known_left, nothing_left
from flowcluster_operator.resources import ACCESS, DEPLOYMENT, LEASE, NETWORK_POLICY, POD, UPSTREAM_CHILDREN, Object


def remains_of(
    store: Store,
    key: RunId,
    run: Object | None,
    cluster: Object | None,
    job: Object | None,
    lease: Object | None,
    pods: Sequence[PodFacts],
) -> dict[str, Any]:
    """Return the fields of `Remains`: the objects of an owner.

    Args:
        store: the local copy of the API server's objects.
        key: the owner.
        run: the FlowRun or SharedCluster; None when it does not exist any more.
        cluster: its cluster resource.
        job: its Job.
        lease: its root Lease.
        pods: its pods.
    """
    leases = store.children(key, LEASE)
    return {
        "key": key,
        "run": run,
        "cluster": cluster,
        "job": job,
        "lease": lease,
        "access": tuple(obj for resource in ACCESS if (obj := owned(store, resource, key)) is not None),
        "network_policies": tuple(store.children(key, NETWORK_POLICY)),
        "stray_leases": tuple(obj for obj in leases if obj["metadata"]["name"] != root_name(LEASE, key)),
        "deployments": tuple(store.children(key, DEPLOYMENT)),
        "pods": tuple(pods),
        "upstream_children": tuple(obj for resource in UPSTREAM_CHILDREN for obj in store.children(key, resource)),
        "orphans": tuple(store.orphans(key)),
    }


def own_credentials(
    memory: Memory, key: RunId, lease: Object | None, cluster: Object | None, job: Object | None
) -> str | None:
    """Return the name of the Secret with the owner's own credentials, which its pod templates name."""
    for backend in BACKENDS.values():
        if cluster is not None and cluster["kind"] == backend.resource.kind and (found := backend.credentials(cluster)):
            return found
    if job is not None and (found := credentials_in(job["spec"]["template"]["spec"])):
        return found
    return of_lease(memory.credentials.get(key), lease)


def of_lease(created: tuple[str, str] | None, lease: Object | None) -> str | None:
    """Return the name of an object that was created for the owner's Lease; None where that was an earlier Lease.

    Args:
        created: UID of the Lease, and name of the object; None where no object was created.
        lease: the owner's present Lease.
    """
    is_of_lease = created is not None and lease is not None and created[0] == lease["metadata"]["uid"]
    return created[1] if created is not None and is_of_lease else None


def with_worker_numbers(
    observed: Observed, backend: Backend | None, memory: Memory, workers: Sequence[Object]
) -> Observed:
    """Return what was observed, with how long the numbers of workers have been stable.

    Args:
        observed: the run, or the shared cluster as a run.
        backend: of its kind of cluster; None where that is not known.
        memory: of the operator.
        workers: the Deployments of the workers of `spec.workers`.
    """
    if backend is None or observed.cluster is None:
        return observed
    key, cluster, now = observed.key, observed.cluster, asyncio.get_running_loop().time()
    _, uid = name_and_uid(cluster)
    has_started = backend.upstream_has_started(observed)
    idle = memory.upstream_activity.record(backend.kind, key, uid, has_started, now)
    observed = dataclasses.replace(observed, upstream_idle=idle)
    if backend.scales_itself:
        return observed
    memory.set_cluster(key, uid)
    live, requested = len(workers), backend.requested_workers(cluster)
    return dataclasses.replace(
        observed,
        stability=memory.stability.record(key, live, requested, now),
        request=memory.worker_requests.record(key, live, requested, now),
    )


async def read_head(store: Store, kube: Kube, key: RunId, head: Object) -> None:
    """Read the scheduler or head where the store lacks it, before it counts as lost.

    A watch by labels reports an object as deleted when its label is edited.

    Args:
        store: the local copy of the API server's objects.
        kube: the client.
        key: the owner.
        head: pod and UID of the scheduler or head, from the status.
    """
    if not any(pod["metadata"]["uid"] == head["uid"] for pod in store.children(key, POD)):
        for pod in (await kube.list(POD, key.namespace, fields=f"metadata.name={head['pod']}"))["items"]:
            store.put(POD, pod)


def idle_confirmed_for(memory: Memory, key: RunId, is_idle: bool, now: float) -> float:
    """Return the seconds for which the API server has confirmed the idleness that a driver or keeper reports."""
    if not is_idle:
        memory.idleness.forget(key)
        return 0.0
    memory.idleness.silent_for(key, None, now)
    return memory.idleness.confirmed_for(key, now)


async def verified_empty(store: Store, kube: Kube, memory: Memory, key: RunId, kind: str | None) -> bool:
    """Return whether the API server has nothing of an owner that must have nothing for now.

    Once that is confirmed, the API server is not queried again: the watches report new objects.

    Args:
        store: the local copy of the API server's objects.
        kube: the client.
        memory: of the operator: what was verified before.
        key: the owner.
        kind: of its cluster; None where it is not known to have had one.
    """
    if key in memory.verified:
        return not known_left(store, key)
    if not await nothing_left(store, kube, key, kind):
        return False
    memory.verified.add(key)
    return True
