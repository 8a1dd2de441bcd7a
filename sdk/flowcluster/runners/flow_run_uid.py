"""The FlowRun that a task runner belongs to. On a shared cluster, its work is tagged with the UID of that FlowRun."""

from __future__ import annotations

import os
from typing import Any

from flowcluster_api import driver


def run_uid(cluster: Any, address: str | None) -> str | None:
    """Return the UID of the FlowRun that uses a cluster; None where there is none.

    Args:
        cluster: that was made for the flow run. One that is used by a FlowRun of its own has its UID as `run_uid`.
        address: of a cluster that exists. The driver's pod of a FlowRun knows that of the run's cluster.
    """
    if cluster is not None:
        uid: str | None = getattr(cluster, "run_uid", None)
        return uid
    if address is not None and address == os.environ.get(driver.ENV_CLUSTER_ADDRESS):
        return os.environ.get(driver.ENV_RUN_UID)
    return None
