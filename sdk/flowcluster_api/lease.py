"""What a driver that runs elsewhere tells the operator: its signs of life, and how it ended.

The operator makes a Lease (``coordination.k8s.io/v1``) for each run that has no ``spec.flow``, named like the
run's other children. The driver renews it; it is the only object that a driver writes. How old a renewal is, the
operator judges by its own clock, from the moment at which it saw that one: the clocks need not agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from . import driver, names

#: Annotation that ends the lease: the driver's `Outcome` as JSON.
ANNOTATION_OUTCOME = f"{names.GROUP}/outcome"

#: Seconds of silence after which a driver counts as gone, where the FlowRun does not say.
DURATION = 60

#: Renewals in the time of one duration. A driver that is stopped for 0.8 of it may just have been about to renew.
RENEWALS = 6


class Signs(NamedTuple):
    """What a Lease says of its driver.

    Attributes:
        holder: who renews it; None before anybody did.
        renewed: the time of the last renewal by the driver's clock, as it stands there.
        outcome: how the driver ended; None while it goes on.
    """

    holder: str | None
    renewed: str | None
    outcome: driver.Outcome | None


def read(lease: Mapping[str, Any]) -> Signs:
    """The signs in a Lease object. An outcome that cannot be read is none."""
    spec: Mapping[str, Any] = lease.get("spec") or {}
    text = (lease["metadata"].get("annotations") or {}).get(ANNOTATION_OUTCOME)
    try:
        outcome = driver.Outcome.from_json(text) if text else None
    except ValueError:
        outcome = None
    return Signs(spec.get("holderIdentity"), spec.get("renewTime"), outcome)


def renewal(holder: str, duration: int, now: str, acquired: str) -> dict[str, Any]:
    """The merge patch of a renewal. `now` and `acquired` are RFC 3339 times with microseconds."""
    return {
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": duration,
            "acquireTime": acquired,
            "renewTime": now,
        }
    }


def release(outcome: driver.Outcome) -> dict[str, Any]:
    """The merge patch that ends a lease at once."""
    return {"metadata": {"annotations": {ANNOTATION_OUTCOME: outcome.to_json()}}}
