"""Verify, before children are created, that the FlowRun or SharedCluster has not changed since it was observed.

Watches lag, and not all by the same time. After an interruption, the watch of a child's kind can report the child as
deleted before the watch of its owner's kind reports that the owner was deleted, too. Without this check, the operator
would create the child of an owner that does not exist. The check needs few reads: the operator creates most children
for an owner that starts, whose status it wrote a moment before.
"""

from __future__ import annotations

import asyncio

from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model.observed import Remains
from flowcluster_operator.model.plan import Create, Plan
from flowcluster_operator.reconcile.children import confirm_owner

#: Seconds for which the write of a status proves that its owner exists, while the owner starts. Later, a missing child
#: may have been deleted with its owner.
PROVEN_SECONDS = 5.0


async def is_current(plan: Plan, observed: Remains, store: Store, memory: Memory, kube: Kube) -> bool:
    """Return whether the plan can be applied. If not, the store has the newer state, and the caller decides again.

    Raises:
        ApiUnavailable, Refused: the FlowRun or SharedCluster could not be read.
    """
    key, run = observed.key, observed.run
    if run is None or not any(isinstance(action, Create) for action in plan.actions):
        return True
    starts = (run.get("status") or {}).get("phase") == "Starting"
    written = memory.pending_statuses.last_written(key)
    if starts and written is not None and asyncio.get_running_loop().time() - written < PROVEN_SECONDS:
        return True
    found = await confirm_owner(store, kube, key)
    if found is None:
        return False
    return bool(found["metadata"]["resourceVersion"] == run["metadata"]["resourceVersion"])
