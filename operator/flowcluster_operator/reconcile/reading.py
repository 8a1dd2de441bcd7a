"""What passes over runs and over shared clusters observe alike."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

from flowcluster_operator.backends.base import Backend
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.desired.tls import keys_in
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model import Key, Observed, identity
from flowcluster_operator.reconcile.verify import known_left, nothing_left
from flowcluster_operator.resources import POD, Object
from flowcluster_operator.store import Store


def own_keys(memory: Memory, key: Key, lease: Object | None, cluster: Object | None, job: Object | None) -> str | None:
    """Return the name of the Secret with the owner's own credentials, which its pod templates name."""
    for backend in BACKENDS.values():
        if cluster is not None and cluster["kind"] == backend.resource.kind and (found := backend.keys(cluster)):
            return found
    if job is not None and (found := keys_in(job["spec"]["template"]["spec"])):
        return found
    return of_lease(memory.keys.get(key), lease)


def of_lease(made: tuple[str, str] | None, lease: Object | None) -> str | None:
    """Return the name of what was created for the owner's Lease; None when it was created for an earlier Lease."""
    return made[1] if made is not None and lease is not None and made[0] == lease["metadata"]["uid"] else None


def with_numbers(observed: Observed, backend: Backend | None, memory: Memory, workers: Sequence[Object]) -> Observed:
    """Return what was observed, with how long the numbers of workers have been at rest.

    Args:
        observed: the run, or the shared cluster as a run.
        backend: of its kind of cluster; None where that is not known.
        memory: of the operator.
        workers: the Deployments of the workers of `spec.workers`.
    """
    if backend is None or observed.cluster is None:
        return observed
    cluster, now = observed.cluster, asyncio.get_running_loop().time()
    _, uid = identity(cluster)
    idle = memory.upstream.see(backend.kind, observed.key, uid, backend.acted_on(observed), now)
    observed = dataclasses.replace(observed, upstream_idle=idle)
    if backend.scales_itself:
        return observed
    memory.meet(observed.key, uid)
    numbers = len(workers), backend.workers(cluster), now
    settled, served = memory.settling.see(observed.key, *numbers), memory.requests.see(observed.key, *numbers)
    return dataclasses.replace(observed, settled=settled, served=served)


async def read_leader(store: Store, kube: Kube, key: Key, leader: Object) -> None:
    """Read the scheduler or head where the store lacks it, before it counts as lost.

    A watch by labels reports an object as deleted when its label is edited.
    """
    if not any(pod["metadata"]["uid"] == leader["uid"] for pod in store.children(key, POD)):
        for pod in (await kube.list(POD, key.namespace, fields=f"metadata.name={leader['pod']}"))["items"]:
            store.put(POD, pod)


def confirmed_idle(memory: Memory, key: Key, is_idle: bool, now: float) -> float:
    """Return for how long the API server has confirmed that a driver or keeper reports to be idle for too long."""
    if not is_idle:
        memory.idleness.forget(key)
        return 0.0
    memory.idleness.seconds(key, None, now)
    return memory.idleness.asked(key, now)


async def verified_dormant(store: Store, kube: Kube, memory: Memory, key: Key, kind: str | None) -> bool:
    """Return whether the API server has nothing of an owner that must have nothing for now. It is queried once.

    Args:
        store: what is known.
        kube: the client.
        memory: what was verified before.
        key: the owner.
        kind: of its cluster; None where it is not known to have had one.
    """
    if key in memory.verified:
        return not known_left(store, key)
    if not await nothing_left(store, kube, key, kind):
        return False
    memory.verified.add(key)
    return True
