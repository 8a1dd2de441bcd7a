"""Whether a run still waits for the credentials of a SharedCluster of another namespace, and why."""

from __future__ import annotations

from flowcluster_api import conditions as c
from flowcluster_api.handover import AT_A_TIME
from flowcluster_api.keeper import SILENT_SECONDS
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.references import CredentialExchangeState


def pending_exchange(observed: Observed) -> CredentialExchangeState | None:
    """Return the exchange that gives the run the credentials that it lacks; None where it has them, or needs none."""
    exchange = observed.reference.exchange
    if exchange is None:
        return None
    has_copy = observed.credentials is not None and exchange.copied_from == observed.reference.credentials
    return None if has_copy else exchange


def why_pending(observed: Observed, name: str) -> tuple[str, str] | None:
    """Return the reason and one sentence why the run lacks the credentials; None where it has them.

    Args:
        observed: the run.
        name: what messages call the cluster.
    """
    exchange = pending_exchange(observed)
    if exchange is None:
        return None
    text = f"waiting for the credentials of {name}, which its keeper seals for the run"
    if exchange.is_decrypted:
        return c.WAITING, f"waiting for the Secret with the credentials of {name}"
    if not exchange.has_same_operator:
        return (
            c.CLUSTER_NOT_READY,
            f"{name} is of another operator (spec.operatorClass): its credentials cannot be given",
        )
    if exchange.problem is not None:
        return c.CLUSTER_NOT_READY, f"{text}: {exchange.problem}"
    if exchange.silent_for >= SILENT_SECONDS:
        return c.KEEPER_SILENT, f"{text}: no heartbeat of the keeper for {SILENT_SECONDS} s"
    if exchange.requested is None:
        return c.WAITING, f"{text}: it serves {AT_A_TIME} runs at a time"
    if exchange.requested >= SILENT_SECONDS:
        return (
            c.KEEPER_SILENT,
            f"{text}: no answer for {SILENT_SECONDS} s; the cluster's image needs the flowcluster of the operator",
        )
    return c.WAITING, text


def next_check(observed: Observed) -> float | None:
    """Return the seconds until the keeper counts as silent, if it does not answer before."""
    exchange = pending_exchange(observed)
    if exchange is None or exchange.is_decrypted:
        return None
    waits = [SILENT_SECONDS - seconds for seconds in (exchange.silent_for, exchange.requested) if seconds is not None]
    return min((wait for wait in waits if wait > 0), default=None)
