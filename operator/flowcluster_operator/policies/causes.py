"""Why a run does not get on: one reason and one line, found in what Kubernetes says of its children."""

from __future__ import annotations

import collections
import datetime as dt
from typing import NamedTuple

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.facts import parse_time
from flowcluster_operator.model import Observed, PodFacts
from flowcluster_operator.resources import DASK_CLUSTER, FLOW_RUN, JOB, RAY_CLUSTER

#: Seconds that the upstream operator may take to act on a new cluster resource. It takes 0.4 when it is idle.
SILENCE_SECONDS = 5

_PULL = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
_FIELDS = {
    names.COMPONENT_DRIVER: ("spec.flow.image", "spec.flow.template"),
    names.COMPONENT_SCHEDULER: ("spec.cluster.image, or spec.flow.image", "spec.cluster.scheduler.resources"),
    names.COMPONENT_HEAD: ("spec.cluster.image, or spec.flow.image", "spec.cluster.scheduler.resources"),
    names.COMPONENT_WORKER: ("spec.cluster.image, or spec.flow.image", "spec.cluster.workers.resources"),
}
#: What our chart brings along to serve a kind.
_CHARTS = {DASK_CLUSTER.kind: "dask-kubernetes-operator", RAY_CLUSTER.kind: "kuberay-operator"}


class Cause(NamedTuple):
    """What holds a run up."""

    reason: str
    message: str


def cause(observed: Observed, backend: Backend | None, now: dt.datetime) -> Cause | None:
    """The first thing that holds the run up, nearest to the flow first; None when nothing is known to."""
    return (
        _rejected(observed)
        or _pods_blocked(observed)
        or _pods_missing(observed)
        or (_cluster_silent(observed, backend, now) if backend else None)
    )


def _rejected(observed: Observed) -> Cause | None:
    for rejection in observed.rejections:
        if rejection.kind == FLOW_RUN.kind:
            continue  # of a child run: the driver is informed
        if rejection.status == 404:
            return Cause(
                c.CLUSTER_KIND_MISSING,
                f"this Kubernetes has no kind {rejection.kind}: install the operator that serves it, or ask your "
                f"administrator to (chart value {_CHARTS.get(rejection.kind, '')}.enabled)",
            )
        return Cause(c.REJECTED, f"{rejection.kind} {rejection.name} was refused: {rejection.message}")
    return None


def _pods_blocked(observed: Observed) -> Cause | None:
    for component in _FIELDS:
        pods = observed.of(component)
        blocked = [pod for pod in pods if pod.blocked is not None and not pod.terminating]
        if blocked:
            return _commonest(component, blocked, len(pods))
    return None


def _commonest(component: str, blocked: list[PodFacts], total: int) -> Cause:
    counts = collections.Counter(pod.blocked for pod in blocked)
    (found, count), *_ = counts.most_common(1)
    assert found is not None
    reason, message = found
    who = component if total == 1 else f"{count} of {total} {component}s"
    return Cause(reason, f"{who}: {_sentence(reason, message)}; {_remedy(component, reason)}")


def _sentence(reason: str, message: str) -> str:
    if reason in _PULL:
        return f"the image cannot be pulled: {message or reason}"
    return f"{reason}: {message}" if message else reason


def _remedy(component: str, reason: str) -> str:
    image, resources = _FIELDS[component]
    if reason in _PULL:
        return f"check {image}"
    if reason == "Unschedulable":
        return f"lower the requests in {resources}, or add nodes"
    if reason == "CrashLoopBackOff":
        return f"check {image}"
    return f"see kubectl describe pod -l {names.LABEL_COMPONENT}={component}"


def _pods_missing(observed: Observed) -> Cause | None:
    for deployment in observed.deployments:
        for condition in (deployment.get("status") or {}).get("conditions") or []:
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                return Cause(condition.get("reason") or c.REJECTED, f"no pod for the cluster: {condition['message']}")
    for warning in observed.warnings:
        who = "driver" if warning.kind == JOB.kind else "cluster"
        return Cause(warning.reason, f"no pod for the {who}: {warning.message}")
    return None


def _cluster_silent(observed: Observed, backend: Backend, now: dt.datetime) -> Cause | None:
    if observed.cluster is None:
        return None
    if invalid := backend.invalid(observed.cluster):
        return Cause(c.REJECTED, invalid)
    age = (now - parse_time(observed.cluster["metadata"]["creationTimestamp"])).total_seconds()
    if age < SILENCE_SECONDS or backend.acted_on(observed):
        return None
    kind = backend.resource.kind
    return Cause(
        c.CLUSTER_OPERATOR_SILENT,
        f"nobody has acted on {kind} {observed.cluster['metadata']['name']} for {SILENCE_SECONDS} s: "
        f"is the operator that serves {kind} running?",
    )
