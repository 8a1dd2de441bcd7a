"""Whether a run still waits for the credentials of a SharedCluster of another namespace, and why."""

from __future__ import annotations

from flowcluster_api import conditions as c
from flowcluster_api.handover import AT_A_TIME
from flowcluster_api.keeper import SILENT_SECONDS
from flowcluster_operator.model import Handover, Observed


def awaited(observed: Observed) -> Handover | None:
    """Return what is known of the credentials that the run lacks; None where it has them, or needs none."""
    found = observed.reference.handover
    if found is None or (observed.keys is not None and found.made_of == observed.reference.keys):
        return None
    return found


def waiting(observed: Observed, name: str) -> tuple[str, str] | None:
    """Return the reason and one sentence why the run lacks the credentials; None where it has them.

    Args:
        observed: the run.
        name: what messages call the cluster.
    """
    found = awaited(observed)
    if found is None:
        return None
    words = f"waiting for the credentials of {name}, which its keeper seals for the run"
    if found.is_open:
        return c.WAITING, f"waiting for the Secret with the credentials of {name}"
    if not found.has_same_operator:
        return (
            c.CLUSTER_NOT_READY,
            f"{name} is of another operator (spec.operatorClass): its credentials cannot be given",
        )
    if found.problem is not None:
        return c.CLUSTER_NOT_READY, f"{words}: {found.problem}"
    if found.silent >= SILENT_SECONDS:
        return c.KEEPER_SILENT, f"{words}: no heartbeat of the keeper for {SILENT_SECONDS} s"
    if found.requested is None:
        return c.WAITING, f"{words}: it serves {AT_A_TIME} runs at a time"
    if found.requested >= SILENT_SECONDS:
        return (
            c.KEEPER_SILENT,
            f"{words}: no answer for {SILENT_SECONDS} s; the cluster's image needs the flowcluster of the operator",
        )
    return c.WAITING, words


def next_look(observed: Observed) -> float | None:
    """Return seconds until the keeper counts as silent, if it does not answer before."""
    found = awaited(observed)
    if found is None or found.is_open:
        return None
    waits = [SILENT_SECONDS - seconds for seconds in (found.silent, found.requested) if seconds is not None]
    return min((wait for wait in waits if wait > 0), default=None)
