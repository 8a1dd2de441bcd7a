"""From a FlowRun to a cluster that can be used: asking for it, and waiting with the reason why it is not there yet."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from flowcluster.errors import ClusterNotStarted, KubernetesError, NotFound
from flowcluster.kube.flow_runs import FlowRuns
from flowcluster_api import conditions as c

logger = logging.getLogger("flowcluster.cluster")

#: Seconds between two looks: at first, and at most where the run waits long.
FIRST_WAIT, LONGEST_WAIT = 0.2, 2.0
#: Seconds for an operator to take notice of a new FlowRun.
UNNOTICED_SECONDS = 60.0
#: Seconds for which the API server may be away meanwhile.
AWAY_SECONDS = 60.0

Object = dict[str, Any]


def wait_until_usable(
    flow_runs: FlowRuns, created: Object, given_up: threading.Event, report: Callable[[str], None]
) -> Object:
    """The status of a run whose cluster can take work. `report` is told how far it is, whenever that changes.

    Raises `ClusterNotStarted` with the cause if there will be none, or once `given_up` is set.
    """
    name, told, wait = created["metadata"]["name"], "", FIRST_WAIT
    began = heard = time.monotonic()
    while True:
        try:
            run = flow_runs.get(name)
            heard = time.monotonic()
        except NotFound:
            raise ClusterNotStarted(f"FlowRun {name} was deleted before its cluster was ready.", "Deleted") from None
        except KubernetesError:
            if time.monotonic() - heard > AWAY_SECONDS:
                raise
            run = {}
        status: Object = run.get("status") or {}
        if run and (how_far := _judge(name, status, time.monotonic() - began)) != told:
            told = how_far
            logger.info("FlowRun %s: %s", name, told)
            report(told)
        if status.get("phase") == "Running":
            return status
        if given_up.wait(wait):
            raise ClusterNotStarted(f"FlowRun {name} was given up before its cluster was ready.", "Cancelled")
        wait = min(1.05 * wait, LONGEST_WAIT)


def _judge(name: str, status: Object, seconds: float) -> str:
    """How far the run is. Raises `ClusterNotStarted` if it gets no further."""
    phase, reason = status.get("phase"), status.get("reason") or "Unknown"
    message = status.get("message") or ""
    if phase is None:
        if seconds > UNNOTICED_SECONDS:
            raise ClusterNotStarted(
                f"No operator takes notice of FlowRun {name}: check that flowcluster's operator runs and serves its "
                "namespace.",
                "Unnoticed",
            )
        return "queued"
    if phase == "Stopping" or phase in c.FINAL_PHASES:
        raise ClusterNotStarted(f"FlowRun {name} got no cluster. {reason}: {message}", reason)
    if phase in ("Pending", "Suspended"):
        return f"queued: {message}" if message else "queued"
    if phase == "Running":
        return "ready"
    return message if reason in (c.WAITING, c.WAKING) else f"{reason}: {message}"
