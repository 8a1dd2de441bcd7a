"""How many attempts a run has left: with another driver, which its Job starts, or on another cluster. Pure.

An attempt counts when its driver failed, or when its cluster was lost. A drain, a preemption or an eviction is not a
failure of the flow, and has a limit of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowcluster_api import driver, names
from flowcluster_operator.model.conditions import has_ended
from flowcluster_operator.model.identity import name_and_uid
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import NextStep, PatchObject
from flowcluster_operator.model.pods import PodFacts
from flowcluster_operator.resources import JOB, Object

#: Evictions after which a driver is started again. A driver that needs more than its node has is evicted repeatedly.
EVICTIONS = 3
#: Clusters of one run that can be lost to a drain, a preemption or an eviction. Further losses count as failed
#: attempts.
DISRUPTED_CLUSTERS = 3


def attempts(observed: Observed) -> list[PodFacts]:
    """Return the pods of the driver, one for each attempt on the present cluster, oldest first."""
    return sorted(observed.of(names.COMPONENT_DRIVER), key=lambda pod: (pod.created, pod.name))


def has_attempts_left(observed: Observed, exit_code: int | None) -> bool:
    """Return whether the Job starts another pod after the last one, which failed with this exit code."""
    pods = attempts(observed)
    if exit_code == driver.EXIT_NOT_STARTED:
        return False
    if pods[-1].disrupted is not None:
        return sum(pod.failure is not None and pod.failure.reason == "Evicted" for pod in pods) <= EVICTIONS
    return _failed(pods) <= job_limit(observed)


def awaits_attempt(job: Object, drivers: Sequence[PodFacts]) -> bool:
    """Return whether a Job has to start another pod: all of its pods have ended, and attempts are left."""
    if not drivers or any(pod.ended is None for pod in drivers):
        return False
    last = max(drivers, key=lambda pod: (pod.created, pod.name)).ended
    is_final = last is not None and last.exit_code in (driver.EXIT_COMPLETED, driver.EXIT_NOT_STARTED)
    return not is_final and _failed(drivers) <= job["spec"].get("backoffLimit", 0)


def job_limit(observed: Observed) -> int:
    """Return the backoffLimit of the run's Job: that of the spec, without the failed attempts on earlier clusters."""
    flow = observed.spec.flow
    return max(flow.backoff_limit - _earlier(_flow(observed)), 0) if flow is not None else 0


def after_loss(observed: Observed) -> int | None:
    """Return the failed attempts that count once the cluster is lost; None where the run does not start again.

    The loss ends the last attempt, and counts once even if the driver failed because of it. A run whose driver is
    elsewhere ends, so that its driver notices the loss. A run on a DaskCluster or RayCluster of another client ends,
    too: the operator cannot create that cluster again.
    """
    spec = observed.spec
    if spec.flow is None or (observed.uses_existing_cluster and not observed.uses_shared):
        return None
    pods, flow = attempts(observed), _flow(observed)
    if pods and pods[-1].ended is not None and pods[-1].ended.exit_code == driver.EXIT_NOT_STARTED:
        return None
    is_free = _is_disrupted(observed) and flow.get("lostClusters", 0) < DISRUPTED_CLUSTERS
    counted = _earlier(flow) + _failed(pods[:-1]) + (0 if is_free else 1)
    return counted if counted <= spec.flow.backoff_limit else None


def update_backoff_limit(observed: Observed) -> NextStep:
    """Return the patch that copies an edit of spec.flow.backoffLimit into a Job that has not ended."""
    job = observed.job
    if job is None or observed.spec.flow is None or _is_over(job):
        return NextStep()
    limit = job_limit(observed)
    if job["spec"].get("backoffLimit", limit) == limit:
        return NextStep()
    return NextStep((PatchObject(JOB, *name_and_uid(job), {"spec": {"backoffLimit": limit}}),))


def _failed(pods: Sequence[PodFacts]) -> int:
    return sum(pod.ended is not None and pod.disrupted is None for pod in pods)


def _flow(observed: Observed) -> Object:
    flow: Object = (observed.run.get("status") or {}).get("flow") or {}
    return flow


def _earlier(flow: Object) -> int:
    return int(flow.get("failedAttempts", 0))


def _is_disrupted(observed: Observed) -> bool:
    """Return whether a drain, a preemption or an eviction ended the scheduler or head that the run has used."""
    status: Object = observed.run.get("status") or {}
    head = (status.get("cluster") or {}).get("scheduler") or {}
    return any(pod.uid == head.get("uid") and pod.disrupted is not None for pod in observed.head_pods())


def _is_over(job: Object) -> bool:
    return has_ended(job) or "deletionTimestamp" in job["metadata"]
