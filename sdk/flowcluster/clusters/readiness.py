"""Wait until the cluster of a FlowRun is usable, and report why it is not usable yet."""

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

#: Seconds between two reads of the FlowRun: at first, and at most.
FIRST_WAIT, LONGEST_WAIT = 0.2, 2.0
#: Seconds in which an operator must observe a new FlowRun. An operator that was down for five minutes still serves it.
UNNOTICED_SECONDS = 360.0
#: Seconds without an operator's status after which the progress report has a hint.
REPORTED_SECONDS = 10.0
#: Seconds for which the API server can be unreachable during the wait.
AWAY_SECONDS = 60.0
#: Seconds for which the API server can refuse to show the FlowRun: one of several replicas can apply a permission late.
REVOKED_SECONDS = 10.0

Object = dict[str, Any]


def wait_until_usable(
    flow_runs: FlowRuns, created: Object, given_up: threading.Event, report: Callable[[str], None]
) -> Object:
    """Wait until the cluster of a FlowRun is usable, and return the status of the FlowRun.

    Args:
        flow_runs: client for the namespace.
        created: the FlowRun.
        given_up: ends the wait when it is set.
        report: called with the progress, as text, whenever it changes.

    Raises:
        ClusterNotStarted: the cluster cannot start, for the cause in the message, or `given_up` was set.
        KubernetesError: the API server could not be reached for `AWAY_SECONDS`.
    """
    name, reported, wait = created["metadata"]["name"], "", FIRST_WAIT
    noticed_by = min(UNNOTICED_SECONDS, (created.get("spec") or {}).get("startDeadlineSeconds") or UNNOTICED_SECONDS)
    began = answered = time.monotonic()
    while True:
        try:
            run = flow_runs.get(name)
            answered = time.monotonic()
        except NotFound:
            raise ClusterNotStarted(f"FlowRun {name} was deleted before its cluster was ready.", "Deleted") from None
        except KubernetesError as error:
            silent = time.monotonic() - answered
            if is_out_of_reach(error) and silent > REVOKED_SECONDS:
                raise ClusterNotStarted(
                    f"FlowRun {name} can no longer be read. It probably ended before its cluster was ready, because "
                    "the permission of a driver to read a child run ends with the child run. See: kubectl describe "
                    f"flowrun {name}",
                    "Unreadable",
                ) from error
            if silent > AWAY_SECONDS:
                raise
            run = {}
        status: Object = run.get("status") or {}
        if run and (progress := _progress(name, status, time.monotonic() - began, noticed_by)) != reported:
            reported = progress
            logger.info("FlowRun %s: %s", name, reported)
            report(reported)
        if status.get("phase") == "Running":
            return status
        if given_up.wait(wait):
            raise ClusterNotStarted(f"FlowRun {name} was cancelled before its cluster was ready.", "Cancelled")
        wait = min(1.05 * wait, LONGEST_WAIT)


def _progress(name: str, status: Object, seconds: float, noticed_by: float) -> str:
    """Return the progress of the run, as text.

    Args:
        name: of the FlowRun.
        status: of the FlowRun, empty before an operator has observed it.
        seconds: since the FlowRun was created.
        noticed_by: seconds within which an operator has to observe it.

    Raises:
        ClusterNotStarted: the cluster cannot start.
    """
    phase, reason = status.get("phase"), status.get("reason") or "Unknown"
    message = status.get("message") or ""
    if phase is None:
        if seconds > noticed_by:
            raise ClusterNotStarted(
                f"No operator has observed FlowRun {name} within {noticed_by:g} s: check that flowcluster's operator "
                "runs and serves its namespace.",
                "Unnoticed",
            )
        hint = "no operator has observed it yet: check that flowcluster's operator runs"
        return f"queued: {hint}" if seconds > REPORTED_SECONDS else "queued"
    if phase == "Stopping" or phase in c.FINAL_PHASES:
        raise ClusterNotStarted(f"FlowRun {name} got no cluster. {reason}: {message}", reason)
    if phase in ("Pending", "Suspended"):
        return f"queued: {message}" if message else "queued"
    if phase == "Running":
        return "ready"
    return message if reason in (c.WAITING, c.WAKING) else f"{reason}: {message}"
