"""Events of what a run waits for: of pods that a node prepares, and of objects that got no pods.

Nothing watches Events: a cluster writes many, and few matter. An object's Events are listed when it has waited for some
seconds, and again after pauses that grow.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flowcluster_api import names
from flowcluster_operator.errors import ApiError, ApiUnavailable
from flowcluster_operator.facts import parse_time
from flowcluster_operator.kube import Kube
from flowcluster_operator.model import Key, PodFacts, Warned
from flowcluster_operator.pod_events import with_events
from flowcluster_operator.resources import DASK_CLUSTER, EVENT, JOB, RAY_CLUSTER, Object

#: Seconds that a node may prepare a pod before its Events are listed.
PREPARING_SECONDS = 3.0
#: Seconds that an object may be without a pod before its Events are listed. dask-kubernetes writes Events when it fails
#: to create a Deployment; it takes some seconds for many clusters.
PODLESS_SECONDS = {JOB.kind: 1.0, RAY_CLUSTER.kind: 1.0, DASK_CLUSTER.kind: 5.0}
#: Seconds between two listings of one object's Events, at first and at most.
FIRST_PAUSE, LONGEST_PAUSE = 1.5, 10.0
#: Pods of one component whose Events are listed: where many wait, they wait for the same.
SAMPLE = 2
#: Objects of one run whose Events one pass lists.
LISTINGS = 4
#: Events of one object that are read. Kubernetes merges repeated ones.
_LIMIT = 100


class Waiting(NamedTuple):
    """An object whose Events may have the cause of a delay.

    Attributes:
        uid: of the object.
        since: when it began to wait.
        seconds: how long it waits before its Events are of interest.
    """

    uid: str
    since: dt.datetime
    seconds: float


@dataclasses.dataclass
class _Look:
    events: list[Object]
    pause: float
    due: dt.datetime


class EventLooks:
    """When the Events of which object were listed, and what was found."""

    def __init__(self) -> None:
        self._looks: dict[Key, dict[str, _Look]] = {}

    async def read(self, kube: Kube, key: Key, waiting: Iterable[Waiting], now: dt.datetime) -> dict[str, list[Object]]:
        """Return the Events known of each object, by its UID, after listing those that are due.

        A listing that fails is not worth the pass: it is made again after the pause.
        """
        objects = {item.uid: item for item in waiting}
        looks = {uid: look for uid, look in self._looks.pop(key, {}).items() if uid in objects}
        for item in objects.values():
            looks.setdefault(item.uid, _Look([], FIRST_PAUSE, item.since + dt.timedelta(seconds=item.seconds)))
        if not looks:
            return {}
        self._looks[key] = looks
        due = sorted((look.due, uid) for uid, look in looks.items() if look.due <= now)
        for _, uid in due[:LISTINGS]:
            looks[uid] = await _listed(kube, key, uid, looks[uid], now)
        return {uid: look.events for uid, look in looks.items()}

    def next_look(self, key: Key, now: dt.datetime) -> float | None:
        """Return the seconds until Events of the run are to be listed again; None where nothing waits."""
        due = [(look.due - now).total_seconds() for look in self._looks.get(key, {}).values()]
        return max(min(due), 0.5) if due else None

    def forget(self, key: Key) -> None:
        """The run is gone."""
        self._looks.pop(key, None)


async def _listed(kube: Kube, key: Key, uid: str, last: _Look, now: dt.datetime) -> _Look:
    try:
        found = await kube.list(EVENT, key.namespace, fields=f"involvedObject.uid={uid}", limit=_LIMIT)
        events: list[Object] = found["items"]
    except (ApiError, ApiUnavailable):
        events = last.events
    pause = dt.timedelta(seconds=last.pause)
    return _Look(events, min(last.pause * 2, LONGEST_PAUSE), now + pause)


def podless(cluster: Object | None, job: Object | None, pods: Sequence[PodFacts], has_deployment: bool) -> list[Object]:
    """Return the Job and cluster resource of a run that have no pods: only their Events have the reason."""
    there = {pod.component for pod in pods}
    found = [job] if job is not None and names.COMPONENT_DRIVER not in there else []
    if cluster is None or cluster["kind"] not in PODLESS_SECONDS:
        return found
    has_pods = has_deployment if cluster["kind"] == DASK_CLUSTER.kind else names.COMPONENT_HEAD in there
    return found if has_pods else [*found, cluster]


def waiting_for_pods(objects: Iterable[Object]) -> list[Waiting]:
    """Return since when they wait."""
    return [
        Waiting(obj["metadata"]["uid"], parse_time(obj["metadata"]["creationTimestamp"]), PODLESS_SECONDS[obj["kind"]])
        for obj in objects
    ]


def warned(objects: Iterable[Object], events: dict[str, list[Object]]) -> tuple[Warned, ...]:
    """Return what Events report of objects that got no pods, oldest first."""
    return tuple(
        Warned(obj["kind"], obj["metadata"]["name"], item.get("reason") or "", item.get("message") or "")
        for obj in objects
        for item in events.get(obj["metadata"]["uid"], ())
        if item.get("type") != "Normal"
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
