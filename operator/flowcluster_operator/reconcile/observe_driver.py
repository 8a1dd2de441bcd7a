"""Observe the driver of a run: its Lease, and the heartbeat in it."""

from __future__ import annotations

import asyncio

from flowcluster_api import lease as leases
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.references import Parent
from flowcluster_operator.policies.heartbeat import renewal_limit
from flowcluster_operator.policies.idleness import reports_idle
from flowcluster_operator.reconcile.children import confirm_gone, owned
from flowcluster_operator.reconcile.observe_common import idle_confirmed_for
from flowcluster_operator.resources import LEASE, Object


async def observe_driver(
    store: Store, kube: Kube, memory: Memory, key: RunId, spec: FlowRunSpec, parent: Parent | None
) -> tuple[Object | None, DriverHeartbeat | None]:
    """Return the run's Lease, and the last heartbeat in it.

    A watch may lag. So the operator reads the Lease from the API server before a missing heartbeat counts, before a run
    counts as idle for too long, and before a run whose parent is over counts as one without an outcome.

    Args:
        store: the local copy of the API server's objects.
        kube: the client.
        memory: of the operator.
        key: the run.
        spec: of the run.
        parent: of the run; None where it has none.
    """
    heartbeats = memory.heartbeats
    lease, confirmed_for = owned(store, LEASE, key), 0.0
    if lease is None:
        return None, None
    clock = asyncio.get_running_loop().time
    state = leases.read(lease)
    silent_for = heartbeats.silent_for(key, state.renewed, clock())
    limit = renewal_limit(spec, state.holder)
    is_late = limit is not None and silent_for >= limit
    is_idle = reports_idle(spec, state.progress)
    if is_late or is_idle or (parent is not None and parent.is_over and state.outcome is None):
        lease = await confirm_gone(store, kube, LEASE, key, lease["metadata"]["name"])
        if lease is None:
            return None, None
        state = leases.read(lease)
        silent_for = heartbeats.silent_for(key, state.renewed, clock())
        is_late = limit is not None and silent_for >= limit
        confirmed_for = heartbeats.confirmed_for(key, clock()) if is_late else 0.0
    idle = idle_confirmed_for(memory, key, is_idle and reports_idle(spec, state.progress), clock())
    return lease, DriverHeartbeat(
        holder=state.holder,
        outcome=state.outcome,
        silent_for=silent_for,
        confirmed_for=confirmed_for,
        demand=state.demand,
        progress=state.progress,
        idle_confirmed_for=idle,
    )
