"""Whether a run has been idle for longer than `spec.idleTimeoutSeconds`.

The driver measures by its own clock how long nothing has run, and reports it with each heartbeat: an operator that was
away or restarted has missed nothing. The timeout is that of the whole cluster. How soon one worker leaves that has
nothing to do is another matter: of the driver's on Dask, and of Ray's autoscaler, whose option has the same name.
"""

from __future__ import annotations

from flowcluster_api import names
from flowcluster_api.progress import Progress
from flowcluster_api.v1alpha1 import Cluster, FlowRunSpec, Workers
from flowcluster_operator.model import DriverSigns, Observed
from flowcluster_operator.policies.child_runs import is_finished
from flowcluster_operator.policies.lease import holder_runs
from flowcluster_operator.resources import Object

#: Seconds for which the API server must have confirmed that the driver reports no work. A driver reports new work
#: within two seconds, also after the API server was away.
CONFIRMED_SECONDS = 4.0
#: Seconds between two confirmations.
_LOOK_SECONDS = 1.0


def exceeded(observed: Observed, status: Object) -> str | None:
    """Return one sentence about a run that is idle for too long; None while it works, or may work."""
    assert observed.spec is not None
    if not _is_idle(observed, status) or observed.driver is None:
        return None
    if observed.driver.idle_confirmed < CONFIRMED_SECONDS:
        return None
    return f"nothing has run on the cluster for {observed.spec.idle_timeout_seconds} s (spec.idleTimeoutSeconds)"


def next_look(observed: Observed, status: Object) -> float | None:
    """Return seconds until the idleness is to be confirmed again; None where the run is not idle for too long."""
    return _LOOK_SECONDS if _is_idle(observed, status) else None


def reports_idle(spec: FlowRunSpec, progress: Progress | None) -> bool:
    """Return whether a driver reports that nothing has run for longer than the spec allows."""
    limit, idle = spec.idle_timeout_seconds, progress.idle if progress is not None else None
    return limit is not None and idle is not None and idle >= limit


def _is_idle(observed: Observed, status: Object) -> bool:
    """Whether a run reports to be idle for too long, and nothing that the operator sees contradicts it."""
    spec, driver = observed.spec, observed.driver
    if spec is None or driver is None or not reports_idle(spec, driver.progress):
        return False
    if spec.cluster is None or spec.cluster.ref is not None or "readyTime" not in status:
        return False
    return holder_runs(observed) and not (
        _has_demand(driver, spec.cluster) or _has_child_runs(observed) or _has_grown(observed)
    )


def _has_demand(driver: DriverSigns, cluster: Cluster) -> bool:
    """Whether a driver requests more than the minimum of workers, which it requests without work, too."""
    return driver.demand is not None and driver.demand.workers > (cluster.workers or Workers()).minimum


def _has_child_runs(observed: Observed) -> bool:
    """Whether a child run goes on: it ends with its parent."""
    return not all(is_finished(run) for run in observed.child_runs)


def _has_grown(observed: Observed) -> bool:
    """Whether Ray's autoscaler keeps workers above the minimum: they have work, or had some seconds ago.

    On Ray, the driver sees only the task runs of its flow.
    """
    cluster = observed.spec.cluster if observed.spec is not None else None
    if cluster is None or cluster.kind != "Ray":
        return False
    live = sum(not pod.terminating and pod.ended is None for pod in observed.of(names.COMPONENT_WORKER))
    return live > (cluster.workers or Workers()).minimum
