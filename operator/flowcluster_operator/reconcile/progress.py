"""How far a run is, written into its status: the cluster, the flow, the conditions and the phase."""

from __future__ import annotations

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.facts import timestamp
from flowcluster_operator.model import Observed
from flowcluster_operator.policies.causes import Cause
from flowcluster_operator.policies.counting import counted, final
from flowcluster_operator.policies.ending import Ending
from flowcluster_operator.policies.losses import with_losses
from flowcluster_operator.policies.readiness import Readiness, is_usable, readiness, ready_leader, ready_workers
from flowcluster_operator.policies.refusals import is_refused
from flowcluster_operator.policies.retries import attempts, awaits_attempt
from flowcluster_operator.policies.scaling import scale
from flowcluster_operator.policies.shared_use import used_cluster
from flowcluster_operator.policies.usage import used
from flowcluster_operator.reconcile.history import record_attempts, record_incidents
from flowcluster_operator.resources import Object
from flowcluster_operator.settings import Settings
from flowcluster_operator.status import Draft, is_true

#: What the condition `ClusterDeleted` says of a run that has ended, until something holds its deletion up.
BEING_DELETED = "what the run had is being deleted"
#: Fields of a cluster's status that outlive the cluster. The kind is required.
_USED = ("kind", "peakWorkers", "workerSeconds")


def cluster_name(observed: Observed) -> str:
    """Return the name of the cluster that the run uses: its own, or the one that the spec names.

    That of a SharedCluster is known once that exists.
    """
    if observed.uses_shared:
        return str(observed.referenced["metadata"]["name"]) if observed.referenced is not None else ""
    cluster = observed.spec.cluster if observed.spec else None
    if cluster is not None and cluster.ref is not None:
        return cluster.ref.name
    if observed.cluster is not None:
        return str(observed.cluster["metadata"]["name"])
    return names.child_name(observed.key.name, observed.key.uid)


def record(observed: Observed, draft: Draft, backend: Backend | None, settings: Settings) -> None:
    """Write down what is there of the run. A child that is being deleted is not there."""
    if backend is not None and _present(observed.cluster if not observed.is_guest else observed.referenced):
        draft.status["cluster"] = _cluster(observed, draft, backend, settings)
    if observed.job is not None and _present(observed.job):
        flow = draft.status.setdefault("flow", {})
        flow["job"] = observed.job["metadata"]["name"]
        record_attempts(observed, draft, flow)
    record_incidents(observed, draft)
    display(draft)


def count_tasks(observed: Observed, draft: Draft) -> float | None:
    """Write down the task runs of a flow that goes on; return seconds until newer counts can be written."""
    found = counted(observed, draft.status.get("flow") or {}, draft.now)
    if found.changes:
        draft.status.setdefault("flow", {}).update(found.changes)
        display(draft)
    return found.requeue


def close_tasks(observed: Observed, draft: Draft) -> None:
    """Write down the task runs of a flow that has ended or is stopped."""
    if (tasks := final(observed, draft.status.get("flow") or {})) is not None:
        draft.status.setdefault("flow", {})["tasks"] = tasks
        display(draft)


def begin(observed: Observed, draft: Draft, settings: Settings) -> None:
    """Write what is created now and what the run waits for. A quick start has no other write before `Running`."""
    assert observed.spec is not None
    name = names.child_name(observed.key.name, observed.key.uid)
    cluster, has_flow = observed.spec.cluster, observed.spec.flow is not None
    children = [f"{cluster.kind}Cluster {name}"] if cluster is not None and cluster.ref is None else []
    children += [f"Job {name}"] if has_flow else []
    if children:
        draft.tell(c.CREATING, " and ".join(children))
    waits = _waits(observed, readiness(observed, scale(observed, settings)), started=not has_flow)
    draft.explain(c.WAITING, ", ".join(waits) or "the run is starting")
    draft.summarise("progressing", c.WAITING, draft.status["message"])


def forget_children(draft: Draft) -> None:
    """Keep of cluster and flow only what they used: a suspended run has neither."""
    cluster, flow = draft.status.pop("cluster", None) or {}, draft.status.pop("flow", None) or {}
    cluster |= used(cluster, 0, draft.now)
    if "kind" in cluster:
        draft.status["cluster"] = {name: cluster[name] for name in _USED if name in cluster}
    kept: Object = {"tasks": flow["tasks"]} if "tasks" in flow else {}
    # The next start goes on counting: all of them are attempts of the run, and they have ended.
    counts = {name: flow[name] for name in ("attempts", "failedAttempts", "lostClusters") if flow.get(name)}
    if counts:
        kept |= {**counts, "endedAttempts": flow.get("attempts", 0)}
    if kept:
        draft.status["flow"] = kept


def lose_cluster(draft: Draft, lost: str, failed: int, limit: int) -> None:
    """Write that the cluster is lost and that the run begins again on another one, with a driver of its own.

    Args:
        draft: the status, in which the attempts of the lost cluster are counted.
        lost: how it was lost.
        failed: attempts that count so far.
        limit: attempts that can fail before the run fails.
    """
    flow = draft.status.get("flow") or {}
    number, clusters = flow.get("attempts", 0), flow.get("lostClusters", 0) + 1
    draft.phase("Starting")
    forget_children(draft)
    forget_start(draft)
    draft.status["flow"] = {**(draft.status.get("flow") or {}), "failedAttempts": failed, "lostClusters": clusters}
    draft.status["lostTime"] = timestamp(draft.now)
    where = f"attempt {number} ended: " if number else ""
    draft.tell(c.CLUSTER_LOST, f"{where}{lost}; another cluster follows ({failed} of {limit} retries)", warning=True)
    draft.explain(c.CLUSTER_LOST, f"{lost}; another cluster follows when nothing is left of this one")
    draft.summarise("progressing", c.CLUSTER_LOST, draft.status["message"])


def forget_start(draft: Draft) -> None:
    """Forget how far the run was: nothing of it is to exist for now."""
    for field in ("readyTime", "display", "lostTime", "rebuildTime"):
        draft.status.pop(field, None)
    draft.forget(c.CLUSTER_READY, c.FLOW_STARTED)


def finish(draft: Draft, phase: c.Phase, reason: str, message: str) -> None:
    """Write that the run has ended, and the phase in which it will be when nothing of it is left."""
    draft.phase("Stopping")
    draft.stamp("finishTime")
    draft.status.pop("lostTime", None)
    draft.explain(reason, message)
    draft.status["finalPhase"] = phase
    draft.condition(c.FINISHED, True, reason, message)
    draft.condition(c.CLUSTER_DELETED, False, c.CLEANING_UP, BEING_DELETED)
    draft.summarise("progressing", c.CLEANING_UP, message)
    draft.tell(reason, message, warning=phase == "Failed")


def complete_failure(observed: Observed, draft: Draft) -> None:
    """Add what Kubernetes reports of pods after the end of the run: the kubelet reports both within moments."""
    record_incidents(observed, draft)
    finished = next(item for item in draft.status["conditions"] if item["type"] == c.FINISHED)
    message = with_losses(finished["message"], observed, draft.status)
    draft.condition(c.FINISHED, True, finished["reason"], message)
    draft.explain(finished["reason"], message)


def record_outcome(flow: Object, over: Ending) -> None:
    """Write how the driver ended, and what it left."""
    if over.exit_code is not None:
        flow["exitCode"] = over.exit_code
    if over.outcome is None:
        return
    tasks = over.outcome.tasks
    if tasks.total or "tasks" not in flow:  # a driver that was stopped leaves an outcome without counts
        flow["tasks"] = {"total": tasks.total, "running": 0, "completed": tasks.completed, "failed": tasks.failed}
    outcome = over.outcome
    results = {"result": outcome.result, "resultUrl": outcome.result_url, "resultOmitted": outcome.result_omitted}
    flow.update({name: text for name, text in results.items() if text is not None})


def explain(draft: Draft, why: Cause) -> None:
    """Show what holds the run up, before it has all its children."""
    _tell_cause(draft, why)
    draft.summarise("progressing", why.reason, why.message)


def _tell_cause(draft: Draft, why: Cause) -> None:
    draft.tell(why.reason, why.message, warning=True, part=why.part)
    draft.explain(why.reason, why.message)


def display(draft: Draft) -> None:
    """Refresh the pairs of numbers that the columns show."""
    shown = {}
    if workers := (draft.status.get("cluster") or {}).get("workers"):
        shown["workers"] = f"{workers['ready']}/{workers['target']}"
    if tasks := (draft.status.get("flow") or {}).get("tasks"):
        shown["tasks"] = f"{tasks['completed']}/{tasks['total']}"
    if shown:
        draft.status["display"] = shown


def forget_workers(draft: Draft) -> None:
    """Nothing of the run is left: no worker is ready, and none is wanted."""
    cluster = draft.status.get("cluster") or {}
    if workers := cluster.get("workers"):
        cluster |= used(cluster, 0, draft.now)
        workers.update(target=0, requested=0, ready=0)
    display(draft)


def judge(observed: Observed, draft: Draft, why: Cause | None, settings: Settings) -> bool:
    """Set conditions and phase; whether the run is running (or was: a lost worker does not undo a start)."""
    assert observed.spec is not None
    verdict = readiness(observed, scale(observed, settings))
    started = observed.spec.flow is None or any(pod.started for pod in observed.of(names.COMPONENT_DRIVER))
    _tell_changes(observed, draft, verdict.ready, verdict.message, started)
    if observed.spec.cluster is not None:
        draft.condition(c.CLUSTER_READY, verdict.ready, verdict.reason, verdict.message)
    if observed.spec.flow is not None:
        reason, message = (c.FLOW_RUNNING, "the driver runs") if started else (c.WAITING, "the driver is starting")
        draft.condition(c.FLOW_STARTED, started, reason, message)
    elif observed.driver is not None and observed.driver.holder:
        message = f"{observed.driver.holder} drives the run"
        if not is_true(draft.status, c.FLOW_STARTED):
            draft.tell(c.DRIVER_CONNECTED, message, has_event=False)
        draft.condition(c.FLOW_STARTED, True, c.DRIVER_CONNECTED, message)
    running = "readyTime" in draft.status or (verdict.ready and started and not is_refused(observed))
    if running:
        if "readyTime" not in draft.status:
            _announce(observed, draft, verdict.message)
        draft.stamp("readyTime")
        draft.phase("Running")
    else:
        draft.phase("Starting")
    waits = _waits(observed, verdict, started=started)
    if why is not None:
        _tell_cause(draft, why)
    elif waits:
        draft.explain(c.WAITING, ", ".join(waits))
    else:
        draft.explain(c.FLOW_RUNNING, "the flow runs" if observed.spec.flow else "the cluster can take work")
    draft.summarise("ready" if running else "progressing", draft.status["reason"], draft.status["message"])
    return running and not waits


def _waits(observed: Observed, verdict: Readiness, *, started: bool) -> list[str]:
    """Return what a run waits for."""
    waits = [] if verdict.ready else [verdict.message]
    if not started:
        waits.append("waiting for the driver")
    elif observed.job is not None and awaits_attempt(observed.job, attempts(observed)):
        waits.append("waiting for the next attempt of the driver")
    return waits


def _tell_changes(observed: Observed, draft: Draft, ready: bool, message: str, started: bool) -> None:
    if observed.spec and observed.spec.cluster and ready and not is_true(draft.status, c.CLUSTER_READY):
        draft.tell(c.CLUSTER_USABLE, message, has_event=False)
    if observed.spec and observed.spec.flow and started and not is_true(draft.status, c.FLOW_STARTED):
        draft.tell(c.FLOW_RUNNING, "the driver was started", has_event=False)


def _announce(observed: Observed, draft: Draft, usable: str) -> None:
    """Make one Event of what made the run usable: its cluster, its driver, or both."""
    assert observed.spec is not None
    has_flow = observed.spec.flow is not None
    parts = [usable] if observed.spec.cluster is not None or not has_flow else []
    parts += ["the driver was started"] if has_flow else []
    draft.announce(c.FLOW_RUNNING if has_flow else c.CLUSTER_USABLE, "; ".join(parts))


def _cluster(observed: Observed, draft: Draft, backend: Backend, settings: Settings) -> Object:
    assert observed.spec is not None
    known: Object = draft.status.get("cluster") or {}
    name, namespace = cluster_name(observed), observed.key.namespace
    new: Object = {**known, "kind": backend.kind, "name": name}
    if observed.uses_shared:
        return used_cluster(observed, new) if is_usable(observed) else new
    leader = ready_leader(observed) if is_usable(observed) else None
    if leader is not None:
        # The address is given out only now: a name that is asked for too early stays unknown for a while.
        resource = observed.referenced if observed.is_guest else observed.cluster
        new |= _doors(backend, name, namespace, settings, backend.keys(resource) if resource else None)
        new.setdefault("scheduler", {"pod": leader.name, "uid": leader.uid, "restarts": leader.restarts})
    if observed.is_guest:
        return new
    bounds, ready = scale(observed, settings), ready_workers(observed)
    requested = backend.workers(observed.cluster) if observed.cluster else bounds.target
    new |= used(known, ready, draft.now)
    new["workers"] = {
        "minimum": bounds.minimum,
        "maximum": bounds.maximum,
        "target": requested if backend.scales_itself else bounds.target,
        "requested": requested,
        "ready": ready,
    }
    new["peakWorkers"] = max(known.get("peakWorkers", 0), ready)
    return new


def _doors(backend: Backend, name: str, namespace: str, settings: Settings, keys: str | None) -> Object:
    return {
        "address": backend.address(name, namespace, settings, keys),
        "dashboard": backend.dashboard(name, namespace, settings),
    }


def _present(obj: Object | None) -> bool:
    return obj is not None and "deletionTimestamp" not in obj["metadata"]
