"""The status of a pod, as the API server returns it, reduced to `PodFacts`. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_operator.log_tail import last_line
from flowcluster_operator.model.pods import Blocked, Ended, OutOfMemory, PodFacts
from flowcluster_operator.resources import Object
from flowcluster_operator.timestamps import parse_time

#: Reasons of waiting containers that are a stage of every start, and not the cause of a delay.
_PREPARING = (None, "ContainerCreating", "PodInitializing")
_OOM_KILLED = "OOMKilled"
#: Exit code of a container that SIGKILL ended.
_KILLED = 137


def pod_facts(pod: Object) -> PodFacts:
    """Return the facts of one pod of a run. Its main container has the name of the component."""
    meta, status = pod["metadata"], pod.get("status") or {}
    labels = meta.get("labels") or {}
    component = labels.get(names.LABEL_COMPONENT, "")
    container = _container(status, component)
    state = container.get("state") or {}
    conditions = {item["type"]: item for item in status.get("conditions") or []}
    failure, disrupted, terminating = _failure(status), _disrupted(conditions), "deletionTimestamp" in meta
    is_being_ended = terminating or disrupted is not None or bool(status.get("reason"))
    return PodFacts(
        name=meta["name"],
        uid=meta["uid"],
        component=component,
        phase=status.get("phase", "Pending"),
        ready=_is_true(conditions, "Ready"),
        started="running" in state or "terminated" in state or bool(container.get("restartCount")),
        terminating=terminating,
        restarts=int(container.get("restartCount") or 0),
        created=parse_time(meta["creationTimestamp"]),
        stage=_stage(state, conditions),
        blocked=failure or _blocked(pod, component, conditions),
        ended=_ended(status, state),
        last_end=_last_end(container),
        failure=failure,
        disrupted=disrupted,
        out_of_memory=_out_of_memory(pod, component, is_being_ended=is_being_ended),
        gone_by=parse_time(meta["deletionTimestamp"]) if "deletionTimestamp" in meta else None,
        is_forced=terminating and meta.get("deletionGracePeriodSeconds") == 0,
        preparing_since=_preparing_since(meta, status, conditions),
        lingering_since=_lingering_since(meta, status, state, conditions),
        group=labels.get(names.LABEL_WORKER_GROUP, ""),
    )


def _is_true(conditions: dict[str, Any], kind: str) -> bool:
    return (conditions.get(kind) or {}).get("status") == "True"


def _stage(state: dict[str, Any], conditions: dict[str, Any]) -> str:
    if not _is_true(conditions, "PodScheduled"):
        return "scheduling"
    # Between scheduling and pulling, only volumes and the network can take long.
    return "starting" if state and "waiting" not in state else "pulling image"


def _container(status: dict[str, Any], component: str) -> dict[str, Any]:
    containers: list[dict[str, Any]] = status.get("containerStatuses") or []
    named = [item for item in containers if item.get("name") == component]
    return (named or containers or [{}])[0]


def _containers(status: dict[str, Any], component: str) -> Iterator[dict[str, Any]]:
    """Yield the statuses of all containers, the most relevant first: init containers, main container, others."""
    main = _container(status, component)
    yield from status.get("initContainerStatuses") or []
    if main:
        yield main
    yield from (item for item in status.get("containerStatuses") or [] if item is not main)


def _failure(status: dict[str, Any]) -> Blocked | None:
    """Return why the kubelet or a controller ended the pod; None where neither did. It explains the exit codes."""
    if status.get("phase") != "Failed" or not status.get("reason"):
        return None
    return Blocked(status["reason"], status.get("message") or "")


def _disrupted(conditions: dict[str, Any]) -> Blocked | None:
    if not _is_true(conditions, "DisruptionTarget"):
        return None
    condition = conditions["DisruptionTarget"]
    return Blocked(condition.get("reason") or "DisruptionTarget", condition.get("message") or "")


def _blocked(pod: Object, component: str, conditions: dict[str, Any]) -> Blocked | None:
    status = pod.get("status") or {}
    scheduled = conditions.get("PodScheduled") or {}
    if scheduled.get("status") == "False":
        message = (scheduled.get("message") or "").partition(" preemption:")[0]
        return Blocked(scheduled.get("reason") or "Unschedulable", message)
    found = list(_containers(status, component))
    for item in found:
        waiting = (item.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason") not in _PREPARING:
            return _waiting(waiting, item)
    is_ready = _is_true(conditions, "Ready")
    ends = [(item, end) for item in found if (end := _failed_end(item, is_ready)) is not None]
    # The exit of a driver's main container is the end of an attempt. It does not delay the run.
    ends = [(item, end) for item, end in ends if item.get("name") != names.COMPONENT_DRIVER]
    return next((_end(item["name"], end) for item, end in ends), None)


def _waiting(waiting: dict[str, Any], container: dict[str, Any]) -> Blocked:
    """Return why a container waits. In a crash loop, its last end has the cause, and the message has none."""
    name, last = container.get("name") or "", (container.get("lastState") or {}).get("terminated")
    if not last:
        return Blocked(waiting["reason"], waiting.get("message") or "", name)
    if last.get("reason") == _OOM_KILLED:
        return _end(name, last)
    return Blocked(waiting["reason"], f"last {_sentence(last)}", name)


def _end(name: str, terminated: dict[str, Any]) -> Blocked:
    if terminated.get("reason") == _OOM_KILLED:
        return Blocked(c.OUT_OF_MEMORY, _sentence(terminated), name)
    return Blocked(terminated.get("reason") or "Error", _sentence(terminated), name)


def _failed_end(container: dict[str, Any], is_ready: bool) -> dict[str, Any] | None:
    """Return the end of a container that failed and does not run, or runs again in a pod that is not ready yet."""
    state = container.get("state") or {}
    ended: dict[str, Any] | None = state.get("terminated")
    if ended is None and "running" in state and not (is_ready or container.get("ready")):
        ended = (container.get("lastState") or {}).get("terminated")
    return ended if ended and ended.get("exitCode") else None


def _last_end(container: dict[str, Any]) -> Blocked | None:
    ends = ((container.get(when) or {}).get("terminated") for when in ("state", "lastState"))
    return next((_end(container["name"], ended) for ended in ends if ended), None)


def _sentence(terminated: dict[str, Any]) -> str:
    tail = last_line(terminated.get("message") or "")
    ended = f"ended with {terminated.get('reason') or 'Error'}, exit code {terminated.get('exitCode')}"
    return f"{ended}: {tail}" if tail else ended


def _ended(status: dict[str, Any], state: dict[str, Any]) -> Ended | None:
    terminated = state.get("terminated")
    if terminated:
        return Ended(
            exit_code=int(terminated.get("exitCode", -1)),
            reason=terminated.get("reason") or "",
            text=terminated.get("message") or "",
        )
    if status.get("phase") == "Failed":  # evicted, or its node died: no container's end is known
        return Ended(exit_code=-1, reason=status.get("reason") or "", text=status.get("message") or "")
    return None


def _out_of_memory(pod: Object, component: str, *, is_being_ended: bool) -> OutOfMemory | None:
    """Return the container that was killed at its memory limit.

    The kubelet reports ``Error`` in place of ``OOMKilled`` when the container runtime has lost the kernel's
    notification, as containerd sometimes does with cgroup v1. The exit code of a SIGKILL then shows it, unless the
    kubelet itself sent the SIGKILL: to a pod that is being ended, or to a container whose liveness probe failed.

    Args:
        pod: the pod.
        component: name of its main container.
        is_being_ended: whether the pod is deleted, disrupted or evicted.
    """
    for item in _containers(pod.get("status") or {}, component):
        ends = [(item.get(when) or {}).get("terminated") or {} for when in ("state", "lastState")]
        container = _spec_of(pod, item["name"])
        limit = _memory_limit(container)
        if any(end.get("reason") == _OOM_KILLED for end in ends):
            return OutOfMemory(item["name"], limit)
        is_killed = any(end.get("exitCode") == _KILLED for end in ends)
        if is_killed and limit is not None and not is_being_ended and "livenessProbe" not in container:
            return OutOfMemory(item["name"], limit, is_reported=False)
    return None


def _spec_of(pod: Object, name: str) -> Object:
    spec = pod.get("spec") or {}
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    return next((container for container in containers if container.get("name") == name), {})


def _memory_limit(container: Object) -> str | None:
    limits = (container.get("resources") or {}).get("limits") or {}
    return str(limits["memory"]) if "memory" in limits else None


def _preparing_since(meta: dict[str, Any], status: dict[str, Any], conditions: dict[str, Any]) -> dt.datetime | None:
    """Return since when the pod's node has prepared it. If that takes long, the pod's Events have the cause."""
    if status.get("phase", "Pending") != "Pending" or not _is_true(conditions, "PodScheduled"):
        return None
    return parse_time(conditions["PodScheduled"].get("lastTransitionTime") or meta["creationTimestamp"])


def _lingering_since(
    meta: dict[str, Any], status: dict[str, Any], state: dict[str, Any], conditions: dict[str, Any]
) -> dt.datetime | None:
    """Return since when the pod has run without its main container: since it stopped being Ready."""
    if status.get("phase") != "Running" or "terminated" not in state:
        return None
    return parse_time((conditions.get("Ready") or {}).get("lastTransitionTime") or meta["creationTimestamp"])
