"""Pods as the API server gives them, reduced to `PodFacts`, and times as it writes them. Pure."""

from __future__ import annotations

import datetime as dt
from typing import Any

from flowcluster_api import names
from flowcluster_operator.model import Ended, PodFacts
from flowcluster_operator.resources import Object

#: Waiting reasons that are a stage of every start, not a cause.
_NORMAL_WAITING = {"ContainerCreating", "PodInitializing"}


def parse_time(text: str) -> dt.datetime:
    """A Kubernetes timestamp as an aware datetime."""
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00"))


def timestamp(now: dt.datetime) -> str:
    """A time as Kubernetes writes it: whole seconds, UTC."""
    return now.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod_facts(pod: Object) -> PodFacts:
    """The facts of one pod of ours. The container that counts is named like the component."""
    meta, status = pod["metadata"], pod.get("status") or {}
    component = (meta.get("labels") or {}).get(names.LABEL_COMPONENT, "")
    container = _container(status, component)
    state = container.get("state") or {}
    conditions = {item["type"]: item for item in status.get("conditions") or []}
    return PodFacts(
        name=meta["name"],
        uid=meta["uid"],
        component=component,
        phase=status.get("phase", "Pending"),
        ready=(conditions.get("Ready") or {}).get("status") == "True",
        started="running" in state or "terminated" in state or bool(container.get("restartCount")),
        terminating="deletionTimestamp" in meta,
        restarts=int(container.get("restartCount") or 0),
        created=parse_time(meta["creationTimestamp"]),
        stage=_stage(state, conditions),
        blocked=_blocked(status, container, conditions),
        ended=_ended(status, state),
    )


def _stage(state: dict[str, Any], conditions: dict[str, Any]) -> str:
    if (conditions.get("PodScheduled") or {}).get("status") != "True":
        return "scheduling"
    # Between the two lies little else that takes long: volumes, and the network.
    return "starting" if state and "waiting" not in state else "pulling image"


def _container(status: dict[str, Any], component: str) -> dict[str, Any]:
    containers: list[dict[str, Any]] = status.get("containerStatuses") or []
    named = [item for item in containers if item.get("name") == component]
    return (named or containers or [{}])[0]


def _blocked(status: dict[str, Any], container: dict[str, Any], conditions: dict[str, Any]) -> tuple[str, str] | None:
    scheduled = conditions.get("PodScheduled") or {}
    if scheduled.get("status") == "False":
        return scheduled.get("reason") or "Unschedulable", scheduled.get("message") or ""
    for item in [*(status.get("initContainerStatuses") or []), container]:
        waiting = (item.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason") not in (None, *_NORMAL_WAITING):
            return waiting["reason"], _with_last_end(waiting.get("message") or "", item)
    for item in status.get("containerStatuses") or []:
        ended = (item.get("state") or {}).get("terminated")
        if ended and ended.get("exitCode") and item.get("name") != container.get("name"):
            return ended.get("reason") or "Error", f"container {item['name']} {_words(ended)}"
    return None


def _with_last_end(message: str, container: dict[str, Any]) -> str:
    """A crash loop's own message names no cause: the last end of the container does."""
    last = (container.get("lastState") or {}).get("terminated")
    if not last:
        return message
    return f"last {_words(last)}"


def _words(terminated: dict[str, Any]) -> str:
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
    if status.get("phase") == "Failed":  # evicted, or its node died: no container tells
        return Ended(exit_code=-1, reason=status.get("reason") or "", text=status.get("message") or "")
    return None


def last_line(text: str) -> str:
    """The last line with something in it: of a traceback, the one that names the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
