"""The status of a run of which nothing must exist for now: it is suspended, or starts again on another cluster."""

from __future__ import annotations

from flowcluster_api import conditions as c
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.policies.worker_seconds import used
from flowcluster_operator.resources import Object
from flowcluster_operator.status.draft import Draft
from flowcluster_operator.status.run_end import close_tasks
from flowcluster_operator.timestamps import timestamp

#: Fields of `status.cluster` that stay when the cluster is deleted. The schema requires `kind`.
_USED = ("kind", "peakWorkers", "workerSeconds")


def suspend(observed: Observed, draft: Draft, held: str | None) -> None:
    """Write that the run is suspended.

    Args:
        observed: the run.
        draft: its status.
        held: what holds up the deletion of its children; None where nothing does.
    """
    draft.phase("Suspended")
    draft.explain(c.SUSPENDED, f"suspended by spec.suspend: {held or 'nothing of the run exists'}")
    if draft.status.pop("startTime", None):
        draft.add_to_story(c.SUSPENDED, "suspended by spec.suspend")
    close_tasks(observed, draft)
    _forget_start(draft)
    _forget_children(draft)
    draft.summarise("progressing", c.SUSPENDED, "suspended")


def lose_cluster(observed: Observed, draft: Draft, lost: str, failed: int, limit: int) -> None:
    """Write that the cluster is lost, and that the run starts again on another one, with another driver.

    Args:
        observed: the run.
        draft: its status, in which the attempts on the lost cluster are counted.
        lost: how the cluster was lost.
        failed: attempts that count so far.
        limit: attempts that can fail before the last one.
    """
    close_tasks(observed, draft)
    flow = draft.status.get("flow") or {}
    number, clusters = flow.get("attempts", 0), flow.get("lostClusters", 0) + 1
    draft.phase("Starting")
    _forget_children(draft)
    _forget_start(draft)
    draft.status["flow"] = {**(draft.status.get("flow") or {}), "failedAttempts": failed, "lostClusters": clusters}
    draft.status["lostTime"] = timestamp(draft.now)
    where = f"attempt {number} ended: " if number else ""
    message = f"{where}{lost}; another cluster follows ({failed} of {limit} retries)"
    draft.add_to_story(c.CLUSTER_LOST, message, warning=True)
    draft.explain(c.CLUSTER_LOST, f"{lost}; another cluster follows when nothing is left of this one")
    draft.summarise("progressing", c.CLUSTER_LOST, draft.status["message"])


def explain_removal(draft: Draft, held: str | None) -> None:
    """Write what holds up the deletion of a lost cluster; the message of the loss stays where nothing does."""
    if held:
        draft.explain(c.CLUSTER_LOST, f"another cluster follows when nothing is left of the lost one: {held}")


def _forget_start(draft: Draft) -> None:
    """Remove the progress of the present start."""
    for field in ("readyTime", "display", "lostTime", "rebuildTime"):
        draft.status.pop(field, None)
    draft.forget(c.CLUSTER_READY, c.FLOW_STARTED)


def _forget_children(draft: Draft) -> None:
    """Remove the fields of cluster and flow from status, except for usage and counts."""
    cluster, flow = draft.status.pop("cluster", None) or {}, draft.status.pop("flow", None) or {}
    cluster |= used(cluster, 0, draft.now)
    if "kind" in cluster:
        draft.status["cluster"] = {name: cluster[name] for name in _USED if name in cluster}
    kept: Object = {"tasks": flow["tasks"]} if "tasks" in flow else {}
    # The next start continues these counts. All attempts so far have ended.
    counts = {name: flow[name] for name in ("attempts", "failedAttempts", "lostClusters") if flow.get(name)}
    if counts:
        kept |= {**counts, "endedAttempts": flow.get("attempts", 0)}
    if kept:
        draft.status["flow"] = kept
