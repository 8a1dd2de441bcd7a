"""Why a run does not get on: one reason and one line, from what Kubernetes reports of its children."""

from __future__ import annotations

import collections
import datetime as dt
from typing import NamedTuple

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.facts import last_line, parse_time
from flowcluster_operator.model import Blocked, Observed, OutOfMemory, PodFacts, Scale, Trouble
from flowcluster_operator.policies.advice import advice, refusal_advice
from flowcluster_operator.policies.parts import COMPONENTS, Part, part_of
from flowcluster_operator.policies.readiness import readiness
from flowcluster_operator.resources import DASK_CLUSTER, DASK_WORKER_GROUP, FLOW_RUN, JOB, RAY_CLUSTER

#: Seconds that the upstream operator may take to act on a new cluster resource. It takes 0.4 when it is idle. One that
#: acts on others meanwhile has many to make: 100 clusters take dask-kubernetes 20 s.
SILENCE_SECONDS, BUSY_SECONDS = 5, 60

#: The part of a run that its passes stand for, in the story.
_OPERATOR = "operator"
#: The reason of Events that kopf, and so dask-kubernetes, makes of its log.
_LOGGED = "Logging"
#: Children that are built from templates of the spec.
_OF_TEMPLATES = (JOB.kind, DASK_CLUSTER.kind, RAY_CLUSTER.kind)
#: The part of a run that lacks pods, by the kind of the object that has none; the cluster as a whole for other kinds.
_WITHOUT_PODS = {JOB.kind: names.COMPONENT_DRIVER, DASK_WORKER_GROUP.kind: names.COMPONENT_WORKER}
#: What our chart brings along to serve a kind.
_CHARTS = {DASK_CLUSTER.kind: "dask-kubernetes-operator", RAY_CLUSTER.kind: "kuberay-operator"}


class Cause(NamedTuple):
    """What holds a run up, or what it lost.

    Attributes:
        reason: one CamelCase word.
        message: one line with the words of Kubernetes, and what to do.
        part: the component that it is about. Causes of one part and class are one entry in the story.
    """

    reason: str
    message: str
    part: str = ""


def trouble_cause(trouble: Trouble) -> Cause:
    """Return the cause of passes that fail. Their words differ from pass to pass, and the story has them once."""
    return Cause(trouble.reason, trouble.message, _OPERATOR)


def cause(observed: Observed, backend: Backend | None, now: dt.datetime) -> Cause | None:
    """Return the first thing that holds the run up, nearest to the flow first; None when none is known."""
    return (
        _rejected(observed)
        or _pods_blocked(observed)
        or _job_suspended(observed)
        or _pods_missing(observed)
        or _reference_unusable(observed)
        or (_cluster_silent(observed, backend, now) if backend else None)
    )


def incidents(observed: Observed) -> list[Cause]:
    """Return what happened to pods of the run, also where others have taken their place since.

    These are containers killed at their memory limit, evictions, preemptions and drains. One for each component. How a
    driver's own container ended is the end of an attempt.
    """
    found = []
    for component in COMPONENTS:
        pods = [pod for pod in observed.of(component) if component != names.COMPONENT_DRIVER or pod.ended is None]
        for pick in (_killed, _taken):
            hit = [(pod, blocked) for pod in pods if (blocked := pick(pod)) is not None]
            if hit:
                found.append(_commonest(observed, component, hit, len(pods)))
    return found


def out_of_memory(component: str, kind: str | None, pod: str, killed: OutOfMemory) -> str:
    """Return one sentence on a container that was killed at its memory limit, with the field to raise."""
    blocked = _killed_at(killed)
    part = part_of(component, kind)
    return f"the {component} in pod {pod}: {_sentence(blocked)}; {advice(blocked, part, component, pod)}"


def kind_of(observed: Observed) -> str | None:
    """Return the kind of the run's cluster; None for a run without one."""
    return observed.spec.cluster.kind if observed.spec and observed.spec.cluster else None


def _rejected(observed: Observed) -> Cause | None:
    for rejection in observed.rejections:
        if rejection.kind == FLOW_RUN.kind:
            continue  # of a child run: the driver is informed
        component = names.COMPONENT_DRIVER if rejection.kind == JOB.kind else names.COMPONENT_CLUSTER
        if rejection.status == 404 and rejection.kind in _CHARTS:
            return Cause(
                c.CLUSTER_KIND_MISSING,
                f"this Kubernetes has no kind {rejection.kind}: install the operator that serves it, or ask your "
                f"administrator to (chart value {_CHARTS[rejection.kind]}.enabled)",
                component,
            )
        words = f"{rejection.kind} {rejection.name} was refused: {rejection.message}"
        part = _part(observed, component) if rejection.kind in _OF_TEMPLATES else None
        return Cause(c.REJECTED, _advised(words, rejection.message, part), component)
    return None


def _part(observed: Observed, component: str) -> Part:
    return part_of(component, kind_of(observed))


def _advised(words: str, message: str, part: Part | None) -> str:
    found = refusal_advice(message, part)
    return f"{words}; {found}" if found else words


def _pods_blocked(observed: Observed) -> Cause | None:
    for component in COMPONENTS:
        pods = _current(observed.of(component))
        hit = [(pod, blocked) for pod in pods if (blocked := _holds_up(pod)) is not None]
        if hit:
            return _commonest(observed, component, hit, len(pods))
    return None


def _current(pods: list[PodFacts]) -> list[PodFacts]:
    """The pods without those that ended and were replaced: a ReplicaSet leaves evicted ones there, a Job all."""
    newest = max((pod.created for pod in pods if pod.phase not in ("Failed", "Succeeded")), default=None)
    return [pod for pod in pods if pod.phase not in ("Failed", "Succeeded") or newest is None or pod.created > newest]


def _holds_up(pod: PodFacts) -> Blocked | None:
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


def _taken(pod: PodFacts) -> Blocked | None:
    """Why the node or a controller ended the pod."""
    return pod.failure or (pod.disrupted if pod.terminating or pod.ended is not None else None)


def _commonest(observed: Observed, component: str, hit: list[tuple[PodFacts, Blocked]], total: int) -> Cause:
    (blocked, count), *_ = collections.Counter(blocked for _, blocked in hit).most_common(1)
    pod = next(pod for pod, found in hit if found == blocked)
    who = component if total == 1 else f"{count} of {total} {component}s"
    advised = advice(blocked, _part(observed, component), component, pod.name)
    return Cause(blocked.reason, f"{who}: {_sentence(blocked, component)}; {advised}", component)


def _sentence(blocked: Blocked, component: str = "") -> str:
    reason, message, container = blocked
    if reason == c.OUT_OF_MEMORY:
        return message
    where = f"container {container} " if container not in ("", component) else ""
    if c.cause_class(reason) == "Image":
        return f"{where and f'{where.strip()}: '}the image cannot be pulled: {message or reason}"
    return f"{reason}: {where}{message}" if message else f"{reason}: {where}".rstrip(": ")


def _job_suspended(observed: Observed) -> Cause | None:
    """Return that another party has suspended the run's Job: the operator never does."""
    for condition in ((observed.job or {}).get("status") or {}).get("conditions") or []:
        if condition["type"] == "Suspended" and condition["status"] == "True":
            words = "a controller that queues Jobs, such as Kueue, has to admit it"
            name = (observed.job or {})["metadata"]["name"]
            return Cause(c.JOB_SUSPENDED, f"Job {name} is suspended: {words}", names.COMPONENT_DRIVER)
    return None


def _pods_missing(observed: Observed) -> Cause | None:
    for deployment in observed.deployments:
        for condition in (deployment.get("status") or {}).get("conditions") or []:
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                labels = deployment["metadata"].get("labels") or {}
                component = labels.get(names.LABEL_COMPONENT, names.COMPONENT_CLUSTER)
                return _no_pod(observed, component, condition.get("reason") or c.REJECTED, condition["message"])
    for warning in reversed(observed.warnings):
        component = _WITHOUT_PODS.get(warning.kind, names.COMPONENT_CLUSTER)
        if warning.reason == _LOGGED:  # an error with its traceback: the last line has what the API server answered
            return _no_pod(observed, component, c.REJECTED, last_line(warning.message))
        return _no_pod(observed, component, warning.reason, warning.message)
    return None


def _no_pod(observed: Observed, component: str, reason: str, message: str) -> Cause:
    words = f"no pod for the {component}: {message}"
    return Cause(reason, _advised(words, message, _part(observed, component)), component)


def _reference_unusable(observed: Observed) -> Cause | None:
    """Return why the cluster that spec.cluster.ref names cannot take work."""
    if not observed.is_guest:
        return None
    verdict = readiness(observed, Scale(0, 0, 0))
    if observed.uses_shared and verdict.reason in (c.WAITING, c.WAKING):
        return None  # it starts: nothing holds the run up
    return None if verdict.ready else Cause(verdict.reason, verdict.message, names.COMPONENT_CLUSTER)


def _cluster_silent(observed: Observed, backend: Backend, now: dt.datetime) -> Cause | None:
    if observed.cluster is None:
        return None
    if invalid := backend.invalid(observed.cluster):
        component = names.COMPONENT_WORKER if "worker" in invalid.lower() else names.COMPONENT_CLUSTER
        return Cause(c.REJECTED, _advised(invalid, invalid, _part(observed, component)), component)
    age = (now - parse_time(observed.cluster["metadata"]["creationTimestamp"])).total_seconds()
    patience = BUSY_SECONDS if observed.upstream_idle < SILENCE_SECONDS else SILENCE_SECONDS
    if age < patience or backend.acted_on(observed):
        return None
    kind = backend.resource.kind
    return Cause(
        c.CLUSTER_OPERATOR_SILENT,
        f"no operator has acted on {kind} {observed.cluster['metadata']['name']} for {patience} s: is the "
        f"operator that serves {kind} running? Its log has more",
        names.COMPONENT_CLUSTER,
    )
