"""Flows that share a cluster with others."""

import os
import threading

from flowcluster import flow, task


@task
def hold() -> None:
    threading.Event().wait()


@flow
def holds() -> None:
    """Keep a worker busy until the run ends."""
    hold.submit().result()


@flow
def holds_until_lost() -> int:
    """Keep a worker busy until the cluster is lost; on the next one, return how many were lost."""
    from flowcluster.kube.access import connect
    from flowcluster.kube.choice import Choice
    from flowcluster.kube.flow_runs import FlowRuns

    run = FlowRuns(connect(Choice())).get(os.environ["FLOWCLUSTER_RUN_NAME"])
    lost = int(run["status"]["flow"].get("lostClusters", 0))
    if not lost:
        hold.submit().result()
    return lost
