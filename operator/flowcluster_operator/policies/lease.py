"""Whether a driver is gone: nothing is heard of it any more."""

from __future__ import annotations

from flowcluster_api import lease, names
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.model import Observed

#: Seconds for which the API server must have been asked in vain before silence counts. A driver renews within two
#: seconds of reaching it again: an API server that was away is no reason to end the runs that it served.
ASKED_SECONDS = 4.0
_FIELD, _START_FIELD = "(spec.leaseDurationSeconds)", "(spec.startDeadlineSeconds)"


def silence(observed: Observed) -> str | None:
    """One sentence on the silence of the driver; None while it is heard, or need not be."""
    limit, signs = allowed(observed), observed.driver
    if limit is None or signs is None or signs.silent < limit or signs.asked < ASKED_SECONDS:
        return None
    if signs.holder:
        return (
            f"no heartbeat of the driver {signs.holder} for {limit} s {_FIELD}: its process, machine or network is gone"
        )
    field = _FIELD if observed.spec and observed.spec.lease_duration_seconds is not None else _START_FIELD
    return f"no driver renewed the run's Lease for {limit} s {field}: its process, machine or network is gone"


def allowed(observed: Observed) -> int | None:
    """Seconds for which the driver may be silent; None where none is expected to be heard."""
    assert observed.spec is not None
    if observed.driver is None or not holder_runs(observed):
        return None
    return expected(observed.spec, observed.driver.holder)


def expected(spec: FlowRunSpec, holder: str | None) -> int | None:
    """Return the seconds within which a Lease is to be renewed; None where it does not have to be.

    A driver that runs elsewhere renews it first within the start deadline: a cluster that no client uses must end. Of a
    driver in a pod, the kubelet reports the end.
    """
    if spec.lease_duration_seconds is not None:
        return spec.lease_duration_seconds
    if holder is not None:
        return lease.DURATION
    return spec.start_deadline_seconds if spec.flow is None else None


def holder_runs(observed: Observed) -> bool:
    """Return whether the driver that holds the Lease runs, as far as the kubelet of its pod has reported.

    Between two attempts there is no heartbeat, and what the Lease reports is of the attempt that ended. An image
    without an agent never sends one. A driver that runs elsewhere has no pod: it runs until its silence is too long.
    """
    assert observed.spec is not None
    if observed.spec.flow is None:
        return True
    holder = (observed.driver.holder if observed.driver is not None else None) or ""
    pods = [pod for pod in observed.of(names.COMPONENT_DRIVER) if pod.started and pod.ended is None]
    return any(pod.name == holder.partition("/")[0] for pod in pods)


def next_look(observed: Observed) -> float | None:
    """Seconds until the silence may have lasted too long; None where nobody listens."""
    limit, signs = allowed(observed), observed.driver
    if limit is None or signs is None:
        return None
    return max(limit - signs.silent, 1.0)
