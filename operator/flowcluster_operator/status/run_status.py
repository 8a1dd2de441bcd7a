"""The status of a run that starts or runs: its cluster, its flow, its conditions and its phase."""

from __future__ import annotations

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.model.conditions import is_true
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.workers import Scale
from flowcluster_operator.policies.backoff_limit import attempts, awaits_attempt
from flowcluster_operator.policies.causes import Cause
from flowcluster_operator.policies.cluster_name import cluster_name
from flowcluster_operator.policies.readiness import Readiness, is_usable, readiness, ready_head, ready_workers
from flowcluster_operator.policies.refusals import is_refused
from flowcluster_operator.policies.shared_cluster import used_cluster
from flowcluster_operator.policies.task_counts import counted
from flowcluster_operator.policies.worker_seconds import used
from flowcluster_operator.resources import Object
from flowcluster_operator.settings import Settings
from flowcluster_operator.status.attempts import record_attempts, record_incidents
from flowcluster_operator.status.draft import Draft


def accept(draft: Draft) -> None:
    """Write that the spec is valid."""
    if not is_true(draft.status, c.ACCEPTED):
        draft.condition(c.ACCEPTED, True, c.SPEC_ACCEPTED, "the spec is valid")


def begin(observed: Observed, draft: Draft, workers: Scale) -> None:
    """Write that the run starts: what the operator creates now, and what the run waits for.

    A run that was suspended, or that lost its cluster, starts in the same way. In a quick start, the next write is that
    of the phase `Running`.
    """
    draft.phase("Starting")
    draft.stamp("startTime")
    if draft.status.pop("lostTime", None):
        draft.stamp("rebuildTime")
    cluster, has_flow = observed.spec.cluster, observed.spec.flow is not None
    children = [f"{cluster.kind}Cluster"] if cluster is not None and cluster.ref is None else []
    children += [f"Job {names.child_name(observed.key.name, observed.key.uid)}"] if has_flow else []
    if children:
        draft.add_to_story(c.CREATING, " and ".join(children))
    waits = _waits(observed, readiness(observed, workers.minimum), started=not has_flow)
    draft.explain(c.WAITING, ", ".join(waits) or "the run is starting")
    draft.summarise("progressing", c.WAITING, draft.status["message"])


def record(observed: Observed, draft: Draft, backend: Backend | None, workers: Scale, settings: Settings) -> None:
    """Write which parts of the run exist. A child that is being deleted does not count."""
    if backend is not None and _exists(observed.referenced if observed.uses_existing_cluster else observed.cluster):
        draft.status["cluster"] = _cluster(observed, draft, backend, workers, settings)
    if observed.job is not None and _exists(observed.job):
        flow = draft.status.setdefault("flow", {})
        flow["job"] = observed.job["metadata"]["name"]
        record_attempts(observed, draft, flow)
    record_incidents(observed, draft)
    display(draft)


def count_tasks(observed: Observed, draft: Draft) -> float | None:
    """Write the task runs of a flow that goes on; return the seconds until newer counts can be written."""
    found = counted(observed, draft.status.get("flow") or {}, draft.now)
    if found.changes:
        draft.status.setdefault("flow", {}).update(found.changes)
        display(draft)
    return found.requeue


def explain(draft: Draft, why: Cause) -> None:
    """Write the cause that holds the run up, before it has all its children."""
    _explain_cause(draft, why)
    draft.summarise("progressing", why.reason, why.message)


def explain_failure(draft: Draft, why: Cause) -> None:
    """Write why the passes over a run fail. A run without a phase becomes `Starting`, so that its deadlines count."""
    if draft.status.get("phase") not in ("Suspended", "Stopping", *c.FINAL_PHASES):
        if not draft.status.get("phase"):
            draft.phase("Starting")
        draft.stamp("startTime")
    explain(draft, why)


def _explain_cause(draft: Draft, why: Cause) -> None:
    draft.add_to_story(why.reason, why.message, warning=True, part=why.part)
    draft.explain(why.reason, why.message)


def display(draft: Draft) -> None:
    """Refresh the pairs of numbers that the printer columns show."""
    shown = {}
    if workers := (draft.status.get("cluster") or {}).get("workers"):
        shown["workers"] = f"{workers['ready']}/{workers['target']}"
    if tasks := (draft.status.get("flow") or {}).get("tasks"):
        shown["tasks"] = f"{tasks['completed']}/{tasks['total']}"
    if shown:
        draft.status["display"] = shown


def update_progress(observed: Observed, draft: Draft, why: Cause | None, workers: Scale) -> bool:
    """Write conditions and phase.

    Args:
        observed: the run.
        draft: its status.
        why: the cause that holds the run up; None where there is none.
        workers: bounds and target.

    Returns:
        Whether the run is running and waits for nothing. A run that was ready once stays `Running` without its minimum
        of workers.
    """
    verdict = readiness(observed, workers.minimum)
    started = observed.spec.flow is None or any(pod.started for pod in observed.of(names.COMPONENT_DRIVER))
    _add_changes_to_story(observed, draft, verdict.ready, verdict.message, started)
    if observed.spec.cluster is not None:
        draft.condition(c.CLUSTER_READY, verdict.ready, verdict.reason, verdict.message)
    if observed.spec.flow is not None:
        reason, message = (c.FLOW_RUNNING, "the driver runs") if started else (c.WAITING, "the driver is starting")
        draft.condition(c.FLOW_STARTED, started, reason, message)
    elif observed.driver is not None and observed.driver.holder:
        message = f"{observed.driver.holder} drives the run"
        if not is_true(draft.status, c.FLOW_STARTED):
            draft.add_to_story(c.DRIVER_CONNECTED, message, has_event=False)
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
        _explain_cause(draft, why)
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


def _add_changes_to_story(observed: Observed, draft: Draft, ready: bool, message: str, started: bool) -> None:
    if observed.spec.cluster and ready and not is_true(draft.status, c.CLUSTER_READY):
        draft.add_to_story(c.CLUSTER_USABLE, message, has_event=False)
    if observed.spec.flow and started and not is_true(draft.status, c.FLOW_STARTED):
        draft.add_to_story(c.FLOW_RUNNING, "the driver was started", has_event=False)


def _announce(observed: Observed, draft: Draft, usable: str) -> None:
    """Emit one Event on what made the run usable: its cluster, its driver, or both."""
    has_flow = observed.spec.flow is not None
    parts = [usable] if observed.spec.cluster is not None or not has_flow else []
    parts += ["the driver was started"] if has_flow else []
    draft.announce(c.FLOW_RUNNING if has_flow else c.CLUSTER_USABLE, "; ".join(parts))


def _cluster(observed: Observed, draft: Draft, backend: Backend, workers: Scale, settings: Settings) -> Object:
    known: Object = draft.status.get("cluster") or {}
    name, namespace = cluster_name(observed, backend), observed.key.namespace
    new: Object = {**known, "kind": backend.kind, "name": name}
    if observed.uses_shared:
        return used_cluster(observed, new) if is_usable(observed) else new
    head = ready_head(observed) if is_usable(observed) else None
    if head is not None:
        # Only a cluster with a Ready head gets an address: resolvers cache a failure of a DNS name that does not exist
        # yet.
        resource = observed.referenced if observed.uses_existing_cluster else observed.cluster
        new |= _endpoints(backend, name, namespace, settings, backend.credentials(resource) if resource else None)
        new.setdefault("scheduler", {"pod": head.name, "uid": head.uid, "restarts": head.restarts})
    if observed.uses_existing_cluster:
        return new
    ready = ready_workers(observed)
    requested = backend.requested_workers(observed.cluster) if observed.cluster else workers.target
    new |= used(known, ready, draft.now)
    new["workers"] = {
        "minimum": workers.minimum,
        "maximum": workers.maximum,
        "target": requested if backend.scales_itself else workers.target,
        "requested": requested,
        "ready": ready,
    }
    new["peakWorkers"] = max(known.get("peakWorkers", 0), ready)
    return new


def _endpoints(backend: Backend, name: str, namespace: str, settings: Settings, credentials: str | None) -> Object:
    return {
        "address": backend.address(name, namespace, settings, credentials),
        "dashboard": backend.dashboard(name, namespace, settings),
    }


def _exists(obj: Object | None) -> bool:
    return obj is not None and "deletionTimestamp" not in obj["metadata"]
