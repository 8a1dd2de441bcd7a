"""One keeper: its heartbeat, and what it does at its cluster."""

from __future__ import annotations

import asyncio
import importlib
import logging

from flowcluster.agent.activity import Activity
from flowcluster.agent.keeper.assignment import Assignment
from flowcluster.agent.keeper.heartbeat import Heartbeat
from flowcluster.agent.keeper.sealer import Sealer
from flowcluster.kube.one_lease import OneLease

logger = logging.getLogger("flowcluster.keeper")


async def keep(assignment: Assignment, lease: OneLease) -> None:
    """Keep a cluster until cancelled.

    Args:
        assignment: which one.
        lease: its root Lease.
    """
    activity = Activity(True, lambda: heartbeat.wake())
    sealer = Sealer(assignment.credentials, assignment.cluster)
    heartbeat = Heartbeat(lease, assignment.holder, activity.progress, sealer.answers)
    logger.info("Keeping the %s cluster at %s", assignment.kind, assignment.address)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(heartbeat.run())
        # Meanwhile the Lease is renewed: the import takes a second.
        await asyncio.to_thread(importlib.import_module, f"{__package__}.{assignment.kind.lower()}_side")
        if assignment.kind == "Dask":
            from flowcluster.agent.keeper.dask_side import DaskSide

            await DaskSide(assignment.address, assignment.lease, heartbeat, activity.looked).run()
        else:
            from flowcluster.agent.keeper.ray_side import RaySide

            await RaySide(assignment.address, assignment.credentials, heartbeat, activity).run()
