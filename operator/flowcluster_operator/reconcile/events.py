"""Events of what a run waits for: of pods that a node prepares, and of objects that got no pods.

Nothing watches Events: a cluster writes many, and few matter. An object's Events are read when it has waited for some
seconds, and again after pauses that grow. One listing of a namespace serves all objects there that wait: the API server
has no index of Events, and reads all of them for each listing, whatever is selected.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flowcluster_api import names
from flowcluster_operator.errors import ApiError, ApiUnavailable
from flowcluster_operator.facts import parse_time, timestamp
from flowcluster_operator.kube import Kube
from flowcluster_operator.model import Key, PodFacts, Warned
from flowcluster_operator.pod_events import event_time, with_events
from flowcluster_operator.policies.retries import awaits_attempt
from flowcluster_operator.resources import DASK_CLUSTER, DASK_WORKER_GROUP, EVENT, JOB, RAY_CLUSTER, Object

#: Seconds that a node may prepare a pod before its Events are listed.
PREPARING_SECONDS = 3.0
#: Seconds that an object may be without a pod before its Events are listed. dask-kubernetes writes Events when it fails
#: to create a Deployment; it takes some seconds for many clusters.
PODLESS_SECONDS = {JOB.kind: 1.0, RAY_CLUSTER.kind: 1.0, DASK_CLUSTER.kind: 5.0, DASK_WORKER_GROUP.kind: 5.0}
#: Seconds between two readings of one object's Events, at first and at most. Two listings of one namespace are at least
#: the first apart.
FIRST_PAUSE, LONGEST_PAUSE = 1.5, 10.0
#: Pods of one component whose Events are read: where many wait, they wait for the same.
SAMPLE = 2
#: Events that each run has many of, and that name no cause; the operator's own are about FlowRuns.
_USUAL = ("Completed", "Killing", "ScalingReplicaSet", "Scheduled", "SuccessfulCreate", "SuccessfulDelete")
_FIELDS = ",".join(["source!=flowcluster", *(f"reason!={reason}" for reason in _USUAL)])


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


@dataclasses.dataclass(frozen=True)
class _Listing:
    """The Events of a namespace, by the UID of the object that they are about.

    Attributes:
        made: when.
        wanted: UIDs of the objects that waited then: of others no Events are kept.
        events: by UID.
    """

    made: dt.datetime
    wanted: frozenset[str]
    events: dict[str, list[Object]]

    def serves(self, uid: str, due: dt.datetime) -> bool:
        """Whether it has what was to be read of an object then."""
        return uid in self.wanted and self.made >= due


class EventLooks:
    """When the Events of which object were read, and what was found."""

    def __init__(self) -> None:
        self._looks: dict[Key, dict[str, _Look]] = {}
        self._listings: dict[str, _Listing] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def read(self, kube: Kube, key: Key, waiting: Iterable[Waiting], now: dt.datetime) -> dict[str, list[Object]]:
        """Return the Events known of each object, by its UID, after reading those that are due.

        A listing that fails is not worth the pass: it is made again after the pause.
        """
        objects = {item.uid: item for item in waiting}
        looks = {uid: look for uid, look in self._looks.pop(key, {}).items() if uid in objects}
        for item in objects.values():
            looks.setdefault(item.uid, _Look([], FIRST_PAUSE, item.since + dt.timedelta(seconds=item.seconds)))
        if not looks:
            return {}
        self._looks[key] = looks
        if due := {uid: look for uid, look in looks.items() if look.due <= now}:
            listing = await self._listing(kube, key.namespace, now)
            for uid, look in due.items():
                self._take(uid, look, listing)
        return {uid: look.events for uid, look in looks.items()}

    def next_look(self, key: Key, now: dt.datetime) -> float | None:
        """Return the seconds until Events of the run are to be read again; None where nothing waits."""
        due = [(look.due - now).total_seconds() for look in self._looks.get(key, {}).values()]
        return max(min(due), 0.5) if due else None

    def forget(self, key: Key) -> None:
        """The run is gone."""
        self._looks.pop(key, None)
        if not self._looks:
            self._listings.clear()

    @staticmethod
    def _take(uid: str, look: _Look, listing: _Listing) -> None:
        """Read an object's Events in a listing, or wait for the next one."""
        if not listing.serves(uid, look.due):
            look.due = listing.made + dt.timedelta(seconds=FIRST_PAUSE)
            return
        look.events = listing.events.get(uid, [])
        look.due = listing.made + dt.timedelta(seconds=look.pause)
        look.pause = min(look.pause * 2, LONGEST_PAUSE)

    async def _listing(self, kube: Kube, namespace: str, now: dt.datetime) -> _Listing:
        """Return the last listing of a namespace, after making a new one unless the last one is young."""
        async with self._locks.setdefault(namespace, asyncio.Lock()):
            last = self._listings.get(namespace)
            if last is None or (now - last.made).total_seconds() >= FIRST_PAUSE:
                last = self._listings[namespace] = await self._listed(kube, namespace, last, now)
            return last

    async def _listed(self, kube: Kube, namespace: str, last: _Listing | None, now: dt.datetime) -> _Listing:
        wanted: frozenset[str] = frozenset()
        events: dict[str, list[Object]] = {}
        try:
            async for page in kube.pages(EVENT, namespace, fields=_FIELDS):
                # Runs that began to wait while the first page was on its way are served, too.
                wanted = wanted or self._wanted(namespace)
                for item in page["items"]:
                    uid = (item.get("involvedObject") or {}).get("uid")
                    if uid in wanted:
                        events.setdefault(uid, []).append({name: item[name] for name in _READ if name in item})
        except (ApiError, ApiUnavailable):
            return _Listing(now, self._wanted(namespace), last.events if last is not None else {})
        return _Listing(now, wanted, events)

    def _wanted(self, namespace: str) -> frozenset[str]:
        return frozenset(uid for key, looks in self._looks.items() if key.namespace == namespace for uid in looks)


#: The fields of an Event that are read.
_READ = ("type", "reason", "message", "series", "lastTimestamp", "eventTime", "firstTimestamp")


def podless(
    cluster: Object | None,
    job: Object | None,
    pods: Sequence[PodFacts],
    has_deployment: bool,
    groups: Sequence[Object] = (),
) -> list[Object]:
    """Return the Job, cluster resource and worker groups of a run that lack pods: only their Events have the reason.

    A Job lacks one before its first attempt, and between two. A worker group of Dask lacks some when there is a
    scheduler, and none of the workers that the cluster asks for.
    """
    there, drivers = {pod.component for pod in pods}, _drivers(pods)
    found = [job] if job is not None and (not drivers or awaits_attempt(job, drivers)) else []
    if cluster is None or cluster["kind"] not in PODLESS_SECONDS:
        return found
    is_dask = cluster["kind"] == DASK_CLUSTER.kind
    if not (has_deployment if is_dask else names.COMPONENT_HEAD in there):
        return [*found, cluster]
    if is_dask and names.COMPONENT_WORKER not in there and cluster["spec"]["worker"]["replicas"] > 0:
        return [*found, *groups]
    return found


def waiting_for_pods(objects: Iterable[Object]) -> list[Waiting]:
    """Return since when they wait."""
    return [
        Waiting(obj["metadata"]["uid"], parse_time(obj["metadata"]["creationTimestamp"]), PODLESS_SECONDS[obj["kind"]])
        for obj in objects
    ]


def warned(
    objects: Iterable[Object], events: dict[str, list[Object]], pods: Sequence[PodFacts] = ()
) -> tuple[Warned, ...]:
    """Return what Events report of objects that got no pods, oldest first: of a Job since it got its last one."""
    last = max((timestamp(pod.created) for pod in _drivers(pods)), default="")
    return tuple(
        Warned(obj["kind"], obj["metadata"]["name"], item.get("reason") or "", item.get("message") or "")
        for obj in objects
        for item in events.get(obj["metadata"]["uid"], ())
        if item.get("type") != "Normal" and (obj["kind"] != JOB.kind or not last or event_time(item) > last[:19])
    )


def _drivers(pods: Sequence[PodFacts]) -> list[PodFacts]:
    return [pod for pod in pods if pod.component == names.COMPONENT_DRIVER]


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
