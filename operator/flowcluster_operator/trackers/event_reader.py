"""Events of objects that a run waits for: of pods that a node prepares, and of objects that lack pods.

The operator does not watch Events: a Kubernetes cluster has many, and few matter. It reads an object's Events when the
object has waited for some seconds, and again after pauses that grow. The API server has no index of Events: it reads
all Events of a namespace for each listing, whatever the selector. So one listing serves all waiting objects there.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Iterable
from typing import NamedTuple
from weakref import WeakValueDictionary

from flowcluster_operator.errors import ApiError, ApiUnavailable
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import EVENT, Object

#: Seconds between two reads of one object's Events: the first pause, and the longest one. Two listings of one namespace
#: are at least the first pause apart.
FIRST_PAUSE, LONGEST_PAUSE = 1.5, 10.0
#: Frequent reasons of Events that name no cause. The selector also excludes the operator's own Events, which are about
#: FlowRuns and SharedClusters.
_USUAL = ("Completed", "Killing", "ScalingReplicaSet", "Scheduled", "SuccessfulCreate", "SuccessfulDelete")
_FIELDS = ",".join(["source!=flowcluster", *(f"reason!={reason}" for reason in _USUAL)])
#: The fields of an Event that are read.
_READ = ("type", "reason", "message", "series", "lastTimestamp", "eventTime", "firstTimestamp")


class Waiting(NamedTuple):
    """An object whose Events may have the cause of a delay.

    Attributes:
        uid: of the object.
        since: when it began to wait.
        seconds: how long it waits before its Events are read.
    """

    uid: str
    since: dt.datetime
    seconds: float


@dataclasses.dataclass
class _Schedule:
    """The Events that are known of an object, and when they are read again."""

    events: list[Object]
    pause: float
    due: dt.datetime


@dataclasses.dataclass(frozen=True)
class _Listing:
    """The Events of a namespace, by the UID of the object that they are about.

    Attributes:
        made: when.
        wanted: UIDs of the objects that waited then. Events of other objects are not kept.
        events: by UID.
    """

    made: dt.datetime
    wanted: frozenset[str]
    events: dict[str, list[Object]]

    def serves(self, uid: str, due: dt.datetime) -> bool:
        """Return whether the listing has the Events of an object, and is not older than the time when they were due."""
        return uid in self.wanted and self.made >= due


class EventReader:
    """When the Events of each object were read, and what they were."""

    def __init__(self) -> None:
        self._schedules: dict[RunId, dict[str, _Schedule]] = {}
        self._listings: dict[str, _Listing] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def read(
        self, kube: Kube, key: RunId, waiting: Iterable[Waiting], now: dt.datetime
    ) -> dict[str, list[Object]]:
        """Read the Events that are due, and return all that are known of each object, by its UID.

        A listing that fails does not fail the pass: it is repeated after the pause.
        """
        objects = {item.uid: item for item in waiting}
        schedules = {uid: known for uid, known in self._schedules.pop(key, {}).items() if uid in objects}
        for item in objects.values():
            schedules.setdefault(item.uid, _Schedule([], FIRST_PAUSE, item.since + dt.timedelta(seconds=item.seconds)))
        if not schedules:
            return {}
        self._schedules[key] = schedules
        if due := {uid: schedule for uid, schedule in schedules.items() if schedule.due <= now}:
            listing = await self._listing(kube, key.namespace, now)
            for uid, schedule in due.items():
                self._take(uid, schedule, listing)
        return {uid: schedule.events for uid, schedule in schedules.items()}

    def next_read(self, key: RunId, now: dt.datetime) -> float | None:
        """Return the seconds until Events of the run are read again; None where no object waits."""
        due = [(schedule.due - now).total_seconds() for schedule in self._schedules.get(key, {}).values()]
        return max(min(due), 0.5) if due else None

    def forget(self, key: RunId) -> None:
        """Forget a run that is gone."""
        self._schedules.pop(key, None)
        if not any(other.namespace == key.namespace for other in self._schedules):
            self._listings.pop(key.namespace, None)

    @staticmethod
    def _take(uid: str, schedule: _Schedule, listing: _Listing) -> None:
        """Take an object's Events from a listing, or wait for the next one."""
        if not listing.serves(uid, schedule.due):
            schedule.due = listing.made + dt.timedelta(seconds=FIRST_PAUSE)
            return
        schedule.events = listing.events.get(uid, [])
        schedule.due = listing.made + dt.timedelta(seconds=schedule.pause)
        schedule.pause = min(schedule.pause * 2, LONGEST_PAUSE)

    async def _listing(self, kube: Kube, namespace: str, now: dt.datetime) -> _Listing:
        """Return a listing of a namespace that is younger than the first pause."""
        async with self._locks.setdefault(namespace, asyncio.Lock()):
            last = self._listings.get(namespace)
            if last is None or (now - last.made).total_seconds() >= FIRST_PAUSE:
                last = self._listings[namespace] = await self._list(kube, namespace, last, now)
            return last

    async def _list(self, kube: Kube, namespace: str, last: _Listing | None, now: dt.datetime) -> _Listing:
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
        return frozenset(uid for key, known in self._schedules.items() if key.namespace == namespace for uid in known)
