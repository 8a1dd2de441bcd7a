"""The UID of the FlowRun that a task runner belongs to: the tag of the run's work on a shared cluster."""

from __future__ import annotations

import os
from typing import Any

from flowcluster_api import driver


def run_uid(cluster: Any, address: str | None) -> str | None:
    """Return the UID of the FlowRun by which a runner uses its cluster; None without such a FlowRun.

    Args:
        cluster: the cluster that the runner created for the flow run; None for an existing cluster. The object for a
            SharedCluster has the UID as its attribute `run_uid`.
        address: address of an existing cluster. It belongs to this driver's own FlowRun if the environment of the pod
            has the same address.
    """
    if cluster is not None:
        uid: str | None = getattr(cluster, "run_uid", None)
        return uid
    if address is not None and address == os.environ.get(driver.ENV_CLUSTER_ADDRESS):
        return os.environ.get(driver.ENV_RUN_UID)
    return None
