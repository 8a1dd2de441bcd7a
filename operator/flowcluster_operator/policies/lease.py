"""Whether a driver that runs elsewhere is gone: it has said how it ended, or says nothing any more."""

from __future__ import annotations

from flowcluster_api import lease
from flowcluster_operator.model import Observed

#: Seconds for which the API server must have been asked in vain before silence counts. A driver renews within two
#: seconds of reaching it again: an API server that was away is no reason to end the runs that it served.
ASKED_SECONDS = 4.0


def silence(observed: Observed) -> str | None:
    """One sentence on the silence of the driver; None while it is heard, or need not be."""
    limit, signs = allowed(observed), observed.driver
    if limit is None or signs is None or signs.silent < limit or signs.asked < ASKED_SECONDS:
        return None
    said = f"nothing was heard from the driver {signs.holder}" if signs.holder else "no driver renewed the run's Lease"
    return f"{said} for {limit} s (spec.leaseDurationSeconds): its process, its machine or its network is gone"


def allowed(observed: Observed) -> int | None:
    """Seconds for which the driver may be silent; None where none is expected to be heard."""
    assert observed.spec is not None
    if observed.spec.flow is not None or observed.driver is None:
        return None
    if observed.spec.lease_duration_seconds is not None:
        return observed.spec.lease_duration_seconds
    return lease.DURATION if observed.driver.holder else None


def next_look(observed: Observed) -> float | None:
    """Seconds until the silence may have lasted too long; None where nobody listens."""
    limit, signs = allowed(observed), observed.driver
    if limit is None or signs is None:
        return None
    return max(limit - signs.silent, 1.0)
