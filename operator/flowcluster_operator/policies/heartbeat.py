"""Whether a driver is gone, because its Lease has no new heartbeat."""

from __future__ import annotations

from flowcluster_api import lease, names
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.model.observed import Observed

#: Seconds for which the API server must have confirmed that there is no heartbeat before a driver counts as gone. After
#: the API server was down, a driver renews its Lease within two seconds. So such a downtime does not end runs.
CONFIRMED_SECONDS = 4.0
_FIELD, _START_FIELD = "(spec.leaseDurationSeconds)", "(spec.startDeadlineSeconds)"


def missed_heartbeat(observed: Observed) -> str | None:
    """Return one sentence about a driver whose Lease has expired; None while it is valid, or no renewal is due."""
    limit, driver = lease_limit(observed), observed.driver
    if limit is None or driver is None or driver.silent_for < limit or driver.confirmed_for < CONFIRMED_SECONDS:
        return None
    if driver.holder:
        return (
            f"no heartbeat of the driver {driver.holder} for {limit} s {_FIELD}: its process, machine or network is "
            "gone"
        )
    field = _FIELD if observed.spec.lease_duration_seconds is not None else _START_FIELD
    return f"no driver renewed the run's Lease for {limit} s {field}: its process, machine or network is gone"


def lease_limit(observed: Observed) -> int | None:
    """Return the seconds within which the driver must renew the Lease; None where no driver has to."""
    if observed.driver is None or not is_holder_running(observed):
        return None
    return renewal_limit(observed.spec, observed.driver.holder)


def renewal_limit(spec: FlowRunSpec, holder: str | None) -> int | None:
    """Return the seconds within which a Lease must be renewed; None where it does not have to be.

    A driver that runs elsewhere must renew the Lease for the first time within the start deadline, so that a cluster
    ends which no client uses. For a driver in a pod there is no such limit: the kubelet reports its end.

    Args:
        spec: of the run.
        holder: the holder identity of the Lease; None before the first renewal.
    """
    if spec.lease_duration_seconds is not None:
        return spec.lease_duration_seconds
    if holder is not None:
        return lease.DURATION
    return spec.start_deadline_seconds if spec.flow is None else None


def is_holder_running(observed: Observed) -> bool:
    """Return whether the driver that holds the Lease runs, as far as the kubelet of its pod has reported.

    Between two attempts there is no heartbeat, and the Lease still has the last report of the attempt that ended. An
    image without flowcluster's agent never sends a heartbeat. A driver that runs elsewhere has no pod: it counts as
    running until its Lease expires.
    """
    if observed.spec.flow is None:
        return True
    holder = (observed.driver.holder if observed.driver is not None else None) or ""
    pods = [pod for pod in observed.of(names.COMPONENT_DRIVER) if pod.started and pod.ended is None]
    return any(pod.name == holder.partition("/")[0] for pod in pods)


def next_check(observed: Observed) -> float | None:
    """Return the seconds until the Lease may have expired; None where no renewal is due."""
    limit, driver = lease_limit(observed), observed.driver
    if limit is None or driver is None:
        return None
    return max(limit - driver.silent_for, 1.0)
