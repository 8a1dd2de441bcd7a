"""Why a run does not proceed: one reason and one line, from what Kubernetes reports of its children."""

from __future__ import annotations

import collections
import datetime as dt
from typing import NamedTuple

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.log_tail import last_line
from flowcluster_operator.model.conditions import true_condition
from flowcluster_operator.model.failures import RepeatedFailure
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.pods import Blocked, OutOfMemory, PodFacts
from flowcluster_operator.policies.advice import advice, refusal_advice
from flowcluster_operator.policies.readiness import readiness
from flowcluster_operator.policies.spec_fields import COMPONENTS, SpecFields, fields_of
from flowcluster_operator.resources import DASK_CLUSTER, DASK_WORKER_GROUP, FLOW_RUN, JOB, RAY_CLUSTER
from flowcluster_operator.timestamps import parse_time

#: Seconds after which an upstream operator that has not acted on a new cluster resource counts as silent. An idle one
#: takes 0.4 s. The second limit is for one that acts on other clusters meanwhile: it has many to create, and
#: dask-kubernetes takes 20 s for 100 clusters.
SILENCE_SECONDS, BUSY_SECONDS = 5, 60

#: The value of `part`, in the story, for causes in the operator's own passes.
_OPERATOR = "operator"
#: The reason of Events that kopf, and so dask-kubernetes, writes from log records.
_LOGGED = "Logging"
#: Children that are built from templates of the spec.
_OF_TEMPLATES = (JOB.kind, DASK_CLUSTER.kind, RAY_CLUSTER.kind)
#: By the kind of an object without pods: the component that lacks them. For other kinds it is the cluster as a whole.
_WITHOUT_PODS = {JOB.kind: names.COMPONENT_DRIVER, DASK_WORKER_GROUP.kind: names.COMPONENT_WORKER}
#: By kind of cluster resource: the subchart of flowcluster's chart with the upstream operator.
_CHARTS = {DASK_CLUSTER.kind: "dask-kubernetes-operator", RAY_CLUSTER.kind: "kuberay-operator"}


class Cause(NamedTuple):
    """Why a run does not proceed, or what it lost.

    Attributes:
        reason: one CamelCase word.
        message: one line with the message of Kubernetes, and what to do.
        part: the component that it concerns. All causes of one part and class have one entry in the story.
    """

    reason: str
    message: str
    part: str = ""


def failure_cause(failure: RepeatedFailure) -> Cause:
    """Return the cause of passes that fail. Its message can differ between passes; the story has one entry for all."""
    return Cause(failure.reason, failure.message, _OPERATOR)


def cause(observed: Observed, backend: Backend | None, now: dt.datetime) -> Cause | None:
    """Return why the run does not proceed: the first cause that is found; None when none is known."""
    return (
        _rejected(observed)
        or _pods_blocked(observed)
        or _job_suspended(observed)
        or _pods_missing(observed)
        or _reference_unusable(observed)
        or (_cluster_silent(observed, backend, now) if backend else None)
    )


def incidents(observed: Observed) -> list[Cause]:
    """Return the disruptions of pods of the run, also of pods that have been replaced.

    These are containers that were killed at their memory limit, and pods that were evicted, preempted or drained: at
    most one of each sort for each component. The exit of a driver's main container is not among them: it is the end of
    an attempt.
    """
    found = []
    for component in COMPONENTS:
        pods = [pod for pod in observed.of(component) if component != names.COMPONENT_DRIVER or pod.ended is None]
        for pick in (_killed, _ended_from_outside):
            hit = [(pod, blocked) for pod in pods if (blocked := pick(pod)) is not None]
            if hit:
                found.append(_commonest(observed, component, hit, len(pods)))
    return found


def out_of_memory(component: str, kind: str | None, pod: str, killed: OutOfMemory) -> str:
    """Return one sentence on a container that was killed at its memory limit, with the field to raise."""
    blocked = _killed_at(killed)
    advised = advice(blocked, fields_of(component, kind), component, pod)
    return f"the {component} in pod {pod}: {_sentence(blocked)}; {advised}"


def _rejected(observed: Observed) -> Cause | None:
    for rejection in observed.rejections:
        if rejection.kind == FLOW_RUN.kind:
            continue  # a child run: the driver that requested it gets the refusal
        component = names.COMPONENT_DRIVER if rejection.kind == JOB.kind else names.COMPONENT_CLUSTER
        if rejection.status == 404 and rejection.kind in _CHARTS:
            return Cause(
                c.CLUSTER_KIND_MISSING,
                f"this Kubernetes has no kind {rejection.kind}: install the operator that serves it, or ask your "
                f"administrator to (chart value {_CHARTS[rejection.kind]}.enabled)",
                component,
            )
        text = f"{rejection.kind} {rejection.name} was refused: {rejection.message}"
        fields = _fields(observed, component) if rejection.kind in _OF_TEMPLATES else None
        return Cause(c.REJECTED, _advised(text, rejection.message, fields), component)
    return None


def _fields(observed: Observed, component: str) -> SpecFields:
    return fields_of(component, observed.spec.cluster.kind if observed.spec.cluster else None)


def _advised(text: str, message: str, fields: SpecFields | None) -> str:
    found = refusal_advice(message, fields)
    return f"{text}; {found}" if found else text


def _pods_blocked(observed: Observed) -> Cause | None:
    for component in COMPONENTS:
        pods = _current(observed.of(component))
        hit = [(pod, blocked) for pod in pods if (blocked := _current_cause(pod)) is not None]
        if hit:
            return _commonest(observed, component, hit, len(pods))
    return None


def _current(pods: list[PodFacts]) -> list[PodFacts]:
    """Return the pods that have not been replaced. A ReplicaSet keeps evicted pods, and a Job keeps all."""
    newest = max((pod.created for pod in pods if pod.phase not in ("Failed", "Succeeded")), default=None)
    return [pod for pod in pods if pod.phase not in ("Failed", "Succeeded") or newest is None or pod.created > newest]


def _current_cause(pod: PodFacts) -> Blocked | None:
    if pod.terminating:
        return pod.disrupted
    if pod.out_of_memory is not None and pod.blocked is not None and pod.blocked.reason == c.OUT_OF_MEMORY:
        return _killed(pod)
    return pod.blocked


def _killed(pod: PodFacts) -> Blocked | None:
    return _killed_at(pod.out_of_memory) if pod.out_of_memory is not None else None


def _killed_at(killed: OutOfMemory) -> Blocked:
    limit = f"at its memory limit of {killed.limit}" if killed.limit else "without a memory limit: its node had no more"
    how = f"{limit} (OOMKilled)" if killed.is_reported else f"(SIGKILL, exit code 137), probably {limit}"
    return Blocked(c.OUT_OF_MEMORY, f"container {killed.container} was killed {how}", killed.container)


def _ended_from_outside(pod: PodFacts) -> Blocked | None:
    """Return why the node or a controller ended the pod; None where neither did."""
    return pod.failure or (pod.disrupted if pod.terminating or pod.ended is not None else None)


def _commonest(observed: Observed, component: str, hit: list[tuple[PodFacts, Blocked]], total: int) -> Cause:
    (blocked, count), *_ = collections.Counter(blocked for _, blocked in hit).most_common(1)
    pod = next(pod for pod, found in hit if found == blocked)
    subject = component if total == 1 else f"{count} of {total} {component}s"
    advised = advice(blocked, _fields(observed, component), component, pod.name)
    return Cause(blocked.reason, f"{subject}: {_sentence(blocked, component)}; {advised}", component)


def _sentence(blocked: Blocked, component: str = "") -> str:
    reason, message, container = blocked
    if reason == c.OUT_OF_MEMORY:
        return message
    where = f"container {container} " if container not in ("", component) else ""
    if c.cause_class(reason) == "Image":
        return f"{where and f'{where.strip()}: '}the image cannot be pulled: {message or reason}"
    return f"{reason}: {where}{message}" if message else f"{reason}: {where}".rstrip(": ")


def _job_suspended(observed: Observed) -> Cause | None:
    """Return the cause where a controller has suspended the run's Job; the operator never suspends one."""
    if observed.job is None or true_condition(observed.job, "Suspended") is None:
        return None
    what = "a controller that queues Jobs, such as Kueue, has to admit it"
    return Cause(
        c.JOB_SUSPENDED, f"Job {observed.job['metadata']['name']} is suspended: {what}", names.COMPONENT_DRIVER
    )


def _pods_missing(observed: Observed) -> Cause | None:
    for deployment in observed.deployments:
        if (condition := true_condition(deployment, "ReplicaFailure")) is not None:
            labels = deployment["metadata"].get("labels") or {}
            component = labels.get(names.LABEL_COMPONENT, names.COMPONENT_CLUSTER)
            return _no_pod(observed, component, condition.get("reason") or c.REJECTED, condition["message"])
    for warning in reversed(observed.warnings):
        component = _WITHOUT_PODS.get(warning.kind, names.COMPONENT_CLUSTER)
        if warning.reason == _LOGGED:  # it is an error with its traceback, whose last line has the API server's answer
            return _no_pod(observed, component, c.REJECTED, last_line(warning.message))
        return _no_pod(observed, component, warning.reason, warning.message)
    return None


def _no_pod(observed: Observed, component: str, reason: str, message: str) -> Cause:
    text = f"no pod for the {component}: {message}"
    return Cause(reason, _advised(text, message, _fields(observed, component)), component)


def _reference_unusable(observed: Observed) -> Cause | None:
    """Return why the cluster that spec.cluster.ref names cannot take work."""
    if not observed.uses_existing_cluster:
        return None
    ready, reason, message = readiness(observed, minimum=0)
    if ready or (observed.uses_shared and reason in (c.WAITING, c.WAKING)):
        return None  # the run waits for a SharedCluster that starts: that is not a cause
    return Cause(reason, message, names.COMPONENT_CLUSTER)


def _cluster_silent(observed: Observed, backend: Backend, now: dt.datetime) -> Cause | None:
    if observed.cluster is None:
        return None
    if invalid := backend.invalid(observed.cluster):
        component = names.COMPONENT_WORKER if "worker" in invalid.lower() else names.COMPONENT_CLUSTER
        return Cause(c.REJECTED, _advised(invalid, invalid, _fields(observed, component)), component)
    age = (now - parse_time(observed.cluster["metadata"]["creationTimestamp"])).total_seconds()
    patience = BUSY_SECONDS if observed.upstream_idle < SILENCE_SECONDS else SILENCE_SECONDS
    if age < patience or backend.upstream_has_started(observed):
        return None
    kind = backend.resource.kind
    return Cause(
        c.CLUSTER_OPERATOR_SILENT,
        f"no operator has acted on {kind} {observed.cluster['metadata']['name']} for {patience} s: is the "
        f"operator that serves {kind} running? Its log has more",
        names.COMPONENT_CLUSTER,
    )
