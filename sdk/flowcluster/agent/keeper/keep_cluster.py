"""Keep one shared cluster: run the keeper's heartbeat and its work at the cluster at the same time."""

from __future__ import annotations

import asyncio
import importlib
import logging

from flowcluster.agent.activity import Activity
from flowcluster.agent.keeper.assignment import Assignment
from flowcluster.agent.keeper.credentials import CredentialSealer
from flowcluster.agent.keeper.heartbeat import Heartbeat
from flowcluster.agent.pending_report import PendingReport
from flowcluster.kube.lease_client import OneLease

logger = logging.getLogger("flowcluster.keeper")


async def keep(assignment: Assignment, lease: OneLease) -> None:
    """Serve a cluster until cancelled.

    Args:
        assignment: the cluster.
        lease: client for the cluster's root Lease.
    """
    report = PendingReport()
    activity = Activity(True, report.wake)
    sealer = CredentialSealer(assignment.credentials, assignment.cluster)
    heartbeat = Heartbeat(lease, assignment.holder, report, activity.progress, sealer.answers)
    logger.info("Keeping the %s cluster at %s", assignment.kind, assignment.address)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(heartbeat.run())
        # The import takes a second. The Lease is renewed in the meantime.
        await asyncio.to_thread(importlib.import_module, f"{__package__}.{assignment.kind.lower()}_cluster")
        if assignment.kind == "Dask":
            from flowcluster.agent.keeper.dask_cluster import DaskKeeper

            await DaskKeeper(assignment.address, assignment.lease, heartbeat, activity).run()
        else:
            from flowcluster.agent.keeper.ray_cluster import RayKeeper

            await RayKeeper(assignment.address, assignment.credentials, heartbeat, activity).run()
