"""Causes that only the Events of a pod have, and not its status. Pure.

While a node prepares a pod, the pod's status has only "ContainerCreating": the kubelet reports missing volumes and
network failures as Events.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence

from flowcluster_api import conditions as c
from flowcluster_operator.model.pods import Blocked, PodFacts
from flowcluster_operator.resources import Object

#: Reasons that the kubelet reports once volumes and network are ready. Earlier failures are then over.
_PROGRESS = {"Pulling", "Pulled", "Created", "Started"}
#: Reasons of warnings that do not explain why a node waits: of a container that runs, of the scheduler, and of policies
#: that only report.
_OTHER = {"Unhealthy", "BackOff", "FailedScheduling", "ProbeWarning", "DNSConfigForming", "PolicyViolation", "Failed"}
#: Messages of a failure that ends by itself: the kubelet has not read the object yet, and retries within a second.
_TRANSIENT = re.compile(r'failed to sync (configmap|secret) cache|object "[^"]*"/"[^"]*" not registered')
#: Messages that name the volumes and not the cause. Another Event has the cause.
_VAGUE = re.compile(r"timed out waiting for the condition|context deadline exceeded")
_PULL_SECRETS = "FailedToRetrieveImagePullSecret"


def with_events(pod: PodFacts, events: Sequence[Object]) -> PodFacts:
    """Return the facts of a pod that waits, completed by what its Events report."""
    found = _pulling(pod.blocked, events) if pod.blocked else _preparing(events)
    return pod if found is None else dataclasses.replace(pod, blocked=found)


def _preparing(events: Sequence[Object]) -> Blocked | None:
    progress = max((event_time(event) for event in events if event.get("reason") in _PROGRESS), default="")
    warnings = [
        event
        for event in sorted(events, key=event_time)
        if event.get("type") == "Warning"
        and event.get("reason") not in (*_OTHER, _PULL_SECRETS)
        and not _TRANSIENT.search(event.get("message") or "")
        and event_time(event) > progress
    ]
    if not warnings:
        return None
    clear = [event for event in warnings if not _VAGUE.search(event.get("message") or "")]
    last = (clear or warnings)[-1]
    return Blocked(last.get("reason") or "Warning", last.get("message") or "")


def _pulling(blocked: Blocked, events: Sequence[Object]) -> Blocked | None:
    """Return the cause of a failed pull: older kubelets report only that they wait before the next one."""
    if c.cause_class(blocked.reason) != "Image":
        return None
    message = blocked.message
    failed = _last(event for event in events if (event.get("message") or "").startswith("Failed to pull image"))
    if blocked.reason == "ImagePullBackOff" and failed and "Failed to pull" not in message and ": " not in message:
        message = failed
    if secrets := _last(event for event in events if event.get("reason") == _PULL_SECRETS):
        message = f"{message}; {secrets.partition(';')[0]}"
    return blocked._replace(message=message) if message != blocked.message else None


def _last(events: Iterable[Object]) -> str:
    return str(max(events, key=event_time, default={}).get("message") or "")


def event_time(event: Object) -> str:
    """Return when an Event happened last. Timestamps of Kubernetes, cut to seconds, sort as text."""
    series = (event.get("series") or {}).get("lastObservedTime")
    last = series or event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp") or ""
    return str(last)[:19]
