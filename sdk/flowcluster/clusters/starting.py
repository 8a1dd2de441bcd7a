"""From a FlowRun to a cluster that can be used: asking for it, and waiting with the reason why it is not there yet."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from flowcluster.errors import ClusterNotStarted, KubernetesError, NotFound
from flowcluster.kube.flow_runs import FlowRuns, is_out_of_reach
from flowcluster_api import conditions as c

logger = logging.getLogger("flowcluster.cluster")

#: Seconds between two looks: at first, and at most where the run waits long.
FIRST_WAIT, LONGEST_WAIT = 0.2, 2.0
#: Seconds for an operator to take notice of a new FlowRun: one that is away for five minutes serves it after that.
UNNOTICED_SECONDS = 360.0
#: Seconds without an operator's notice after which the progress report says so.
REPORTED_SECONDS = 10.0
#: Seconds for which the API server may be away meanwhile.
AWAY_SECONDS = 60.0
#: Seconds for which the API server can refuse to show the FlowRun: one of several may learn of a right late.
REVOKED_SECONDS = 10.0

Object = dict[str, Any]


def wait_until_usable(
    flow_runs: FlowRuns, created: Object, given_up: threading.Event, report: Callable[[str], None]
) -> Object:
    """The status of a run whose cluster can take work. `report` is told how far it is, whenever that changes.

    Raises `ClusterNotStarted` with the cause if there will be none, or once `given_up` is set.
    """
    name, told, wait = created["metadata"]["name"], "", FIRST_WAIT
    noticed_by = min(UNNOTICED_SECONDS, (created.get("spec") or {}).get("startDeadlineSeconds") or UNNOTICED_SECONDS)
    began = heard = time.monotonic()
    while True:
        try:
            run = flow_runs.get(name)
            heard = time.monotonic()
        except NotFound:
            raise ClusterNotStarted(f"FlowRun {name} was deleted before its cluster was ready.", "Deleted") from None
        except KubernetesError as error:
            silent = time.monotonic() - heard
            if is_out_of_reach(error) and silent > REVOKED_SECONDS:
                raise ClusterNotStarted(
                    f"FlowRun {name} can no longer be read, as if it had ended before its cluster was ready: the right "
                    f"of a driver to read a child run ends with it. See: kubectl describe flowrun {name}",
                    "Unreadable",
                ) from error
            if silent > AWAY_SECONDS:
                raise
            run = {}
        status: Object = run.get("status") or {}
        if run and (how_far := _judge(name, status, time.monotonic() - began, noticed_by)) != told:
            told = how_far
            logger.info("FlowRun %s: %s", name, told)
            report(told)
        if status.get("phase") == "Running":
            return status
        if given_up.wait(wait):
            raise ClusterNotStarted(f"FlowRun {name} was given up before its cluster was ready.", "Cancelled")
        wait = min(1.05 * wait, LONGEST_WAIT)


def _judge(name: str, status: Object, seconds: float, noticed_by: float) -> str:
    """Return how far the run is.

    Args:
        name: of the FlowRun.
        status: of the FlowRun, empty before an operator has noticed it.
        seconds: since the FlowRun was created.
        noticed_by: seconds within which an operator has to notice it.

    Raises:
        ClusterNotStarted: it gets no further.
    """
    phase, reason = status.get("phase"), status.get("reason") or "Unknown"
    message = status.get("message") or ""
    if phase is None:
        if seconds > noticed_by:
            raise ClusterNotStarted(
                f"No operator has taken notice of FlowRun {name} for {noticed_by:g} s: check that flowcluster's "
                "operator runs and serves its namespace.",
                "Unnoticed",
            )
        waits = "no operator has taken notice of it yet: check that flowcluster's operator runs"
        return f"queued: {waits}" if seconds > REPORTED_SECONDS else "queued"
    if phase == "Stopping" or phase in c.FINAL_PHASES:
        raise ClusterNotStarted(f"FlowRun {name} got no cluster. {reason}: {message}", reason)
    if phase in ("Pending", "Suspended"):
        return f"queued: {message}" if message else "queued"
    if phase == "Running":
        return "ready"
    return message if reason in (c.WAITING, c.WAKING) else f"{reason}: {message}"
