"""Objects of a run whose Events may explain a delay: pods that a node prepares, and objects that lack pods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flowcluster_api import names
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.model.failures import WarningEvent
from flowcluster_operator.model.pods import PodFacts
from flowcluster_operator.pod_events import event_time, with_events
from flowcluster_operator.policies.backoff_limit import awaits_attempt
from flowcluster_operator.resources import JOB, Object
from flowcluster_operator.timestamps import parse_time, timestamp
from flowcluster_operator.trackers.event_reader import Waiting

#: Seconds for which a node can prepare a pod before the operator reads the pod's Events.
PREPARING_SECONDS = 3.0
#: Seconds for which a Job can lack a pod before the operator reads its Events. For other kinds, see
#: `Backend.podless_seconds`.
PODLESS_SECONDS = 1.0
#: Maximum pods of one component whose Events are read: where many pods wait, they wait for the same reason.
SAMPLE = 2


def podless(
    cluster: Object | None,
    job: Object | None,
    pods: Sequence[PodFacts],
    has_deployments: bool,
    groups: Sequence[Object] = (),
) -> list[Object]:
    """Return the Job, cluster resource and worker groups of a run that lack pods. Only their Events can have the cause.

    A Job lacks a pod before its first attempt, and between two attempts.

    Args:
        cluster: the cluster resource; None where there is none.
        job: the Job; None where there is none.
        pods: of the run.
        has_deployments: whether the cluster has Deployments.
        groups: DaskWorkerGroups of the run.
    """
    drivers = _drivers(pods)
    found = [job] if job is not None and (not drivers or awaits_attempt(job, drivers)) else []
    if cluster is None:
        return found
    components = {pod.component for pod in pods}
    return [*found, *_backend(cluster).without_pods(cluster, components, has_deployments, groups)]


def waiting_for_pods(objects: Iterable[Object]) -> list[Waiting]:
    """Return since when objects wait for pods."""
    return [
        Waiting(obj["metadata"]["uid"], parse_time(obj["metadata"]["creationTimestamp"]), _podless_seconds(obj))
        for obj in objects
    ]


def _podless_seconds(obj: Object) -> float:
    return PODLESS_SECONDS if obj["kind"] == JOB.kind else _backend(obj).podless_seconds


def _backend(obj: Object) -> Backend:
    """Return the backend of the API group of a cluster resource or a worker group."""
    group = str(obj["apiVersion"]).partition("/")[0]
    return next(backend for backend in BACKENDS.values() if backend.resource.group == group)


def warnings(
    objects: Iterable[Object], events: dict[str, list[Object]], pods: Sequence[PodFacts] = ()
) -> tuple[WarningEvent, ...]:
    """Return the warnings in Events about objects that lack pods; of a Job, only those after its last pod began."""
    last = max((timestamp(pod.created) for pod in _drivers(pods)), default="")
    return tuple(
        WarningEvent(obj["kind"], obj["metadata"]["name"], item.get("reason") or "", item.get("message") or "")
        for obj in objects
        for item in events.get(obj["metadata"]["uid"], ())
        if item.get("type") != "Normal" and (obj["kind"] != JOB.kind or not last or event_time(item) > last[:19])
    )


def preparing(pods: Sequence[PodFacts]) -> list[Waiting]:
    """Return pods that a node prepares: the oldest ones of each component."""
    found: dict[str, list[Waiting]] = {}
    for pod in sorted(pods, key=lambda pod: (pod.created, pod.name)):
        if pod.preparing_since is not None and not pod.terminating:
            waiting = Waiting(pod.uid, pod.preparing_since, PREPARING_SECONDS)
            found.setdefault(pod.component, []).append(waiting)
    return [waiting for of_component in found.values() for waiting in of_component[:SAMPLE]]


def completed(pods: Sequence[PodFacts], events: dict[str, list[Object]]) -> tuple[PodFacts, ...]:
    """Return the facts of pods, completed by what their Events report."""
    return tuple(with_events(pod, events[pod.uid]) if pod.uid in events else pod for pod in pods)


def _drivers(pods: Sequence[PodFacts]) -> list[PodFacts]:
    return [pod for pod in pods if pod.component == names.COMPONENT_DRIVER]
