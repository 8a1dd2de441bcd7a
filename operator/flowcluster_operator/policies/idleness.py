"""Whether a run has been idle for longer than `spec.idleTimeoutSeconds`.

The driver measures by its own clock how long no task has run, and reports the time with each heartbeat. So a restart of
the operator loses nothing. The timeout is for the whole cluster. It is not for single idle workers: the driver retires
them on Dask, and Ray's autoscaler removes them on Ray, by an option of the same name.
"""

from __future__ import annotations

from flowcluster_api import names
from flowcluster_api.progress import Progress
from flowcluster_api.v1alpha1 import Cluster, FlowRunSpec, Workers
from flowcluster_operator.backends.registry import backend_of
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.policies.child_runs import is_finished
from flowcluster_operator.policies.heartbeat import is_holder_running
from flowcluster_operator.resources import Object

#: Seconds for which the API server must have confirmed that the driver reports no work. A driver reports new work
#: within two seconds, also after the API server was down.
CONFIRMED_SECONDS = 4.0
#: Seconds between two confirmations.
_CHECK_SECONDS = 1.0


def idle_timeout_exceeded(observed: Observed, status: Object) -> str | None:
    """Return one sentence about a run that is idle for too long; None while it works, or may work."""
    if not _is_idle(observed, status) or observed.driver is None:
        return None
    if observed.driver.idle_confirmed_for < CONFIRMED_SECONDS:
        return None
    return f"nothing has run on the cluster for {observed.spec.idle_timeout_seconds} s (spec.idleTimeoutSeconds)"


def next_check(observed: Observed, status: Object) -> float | None:
    """Return the seconds until the idleness must be confirmed again; None where the run is not idle for too long."""
    return _CHECK_SECONDS if _is_idle(observed, status) else None


def reports_idle(spec: FlowRunSpec, progress: Progress | None) -> bool:
    """Return whether a driver reports that nothing has run for longer than the spec allows."""
    limit, idle = spec.idle_timeout_seconds, progress.idle if progress is not None else None
    return limit is not None and idle is not None and idle >= limit


def _is_idle(observed: Observed, status: Object) -> bool:
    """Return whether a driver reports the run as idle for too long, and no other observation contradicts it."""
    spec, driver = observed.spec, observed.driver
    if driver is None or not reports_idle(spec, driver.progress):
        return False
    if spec.cluster is None or spec.cluster.ref is not None or "readyTime" not in status:
        return False
    return is_holder_running(observed) and not (
        _has_demand(driver, spec.cluster) or _has_child_runs(observed) or _has_grown(observed)
    )


def _has_demand(driver: DriverHeartbeat, cluster: Cluster) -> bool:
    """Return whether a driver requests more workers than the minimum, which it also requests without work."""
    return driver.demand is not None and driver.demand.workers > (cluster.workers or Workers()).minimum


def _has_child_runs(observed: Observed) -> bool:
    """Return whether a child run has not finished: it would end with its parent."""
    return not all(is_finished(run) for run in observed.child_runs)


def _has_grown(observed: Observed) -> bool:
    """Return whether the cluster's own autoscaler keeps workers above the minimum.

    Such workers have work, or had some seconds ago. On Ray, the driver sees only the task runs of its flow.
    """
    cluster, backend = observed.spec.cluster, backend_of(observed.spec.cluster)
    if cluster is None or backend is None or not backend.scales_itself:
        return False
    return observed.live(names.COMPONENT_WORKER) > (cluster.workers or Workers()).minimum
