"""Runs whose cluster is lost, for tests of the decisions about them."""

from __future__ import annotations

from typing import Any

from flowcluster_operator.model.observed import Observed
from tests.support.makers import (
    ago,
    cluster,
    ended,
    job,
    observed,
    outcome,
    pod,
    spec,
)
from tests.support.plans import CHILDREN, started

Body = dict[str, Any]
FAILED = ended(1, outcome("Failed", "FlowFailed", "no", 1))
DRAINED = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "a drain"}


def disrupted(made: Body) -> Body:
    """Add the condition of a drain to a pod, and return it."""
    made["status"]["conditions"].append(DRAINED)
    return made


def body(limit: int, **more: Any) -> Body:
    """Return the spec of a run with this backoffLimit."""
    return {**spec(**more), "flow": {"entrypoint": "a.py:b", "backoffLimit": limit}}


def using(**flow: Any) -> Body:
    """Return the status of a run that uses its cluster."""
    scheduler = {"pod": "scheduler-1", "uid": "pod-scheduler", "restarts": 0}
    return started(
        age=500, phase="Running", readyTime=ago(400),
        cluster={"kind": "Dask", "name": "c", "scheduler": scheduler, "peakWorkers": 2, "workerSeconds": 9},
        flow={"job": "j", **flow},
    )  # fmt: skip


#: What exists of a run after the loss of its cluster, by kind of loss.
LOSSES: dict[str, Body] = {
    "restarted": {"pods": [pod("scheduler", restarts=1)]},
    "gone": {"pods": []},
    "leaves": {"pods": [pod("scheduler", deleted=True)]},
    "deleted": {"pods": [pod("scheduler")], "cluster": None},
    "being deleted": {"pods": [pod("scheduler")], "cluster": cluster(deletionTimestamp=ago(1))},
    "no Lease": {"pods": [pod("scheduler")], "lease": None},
}


def lost(how: str, limit: int, status: Body | None = None, *drivers: Body, **more: Any) -> Observed:
    """Return a run that has lost its cluster in one of the `LOSSES`."""
    change = LOSSES[how]
    pods = [*change["pods"], *(drivers or [pod("driver")])]
    children = {**CHILDREN, "job": job(body(limit)), **change, "pods": pods, **more}
    return observed(body(limit), status=status or using(), **children)
