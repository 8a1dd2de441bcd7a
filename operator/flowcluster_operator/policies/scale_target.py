"""The target number of workers of a run: the driver's demand, within the bounds."""

from __future__ import annotations

from flowcluster_api.bounds import default_maximum
from flowcluster_api.v1alpha1 import Workers
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.workers import Scale
from flowcluster_operator.settings import Settings


def scale(observed: Observed, settings: Settings) -> Scale:
    """Return the bounds and the target of a run's workers.

    Before the driver reports its demand, the target is the minimum.

    Args:
        observed: the run.
        settings: of the operator; its limit of workers lowers both bounds.
    """
    cluster, limit = observed.spec.cluster, settings.max_workers
    workers = (cluster and cluster.workers) or Workers()
    minimum = min(workers.minimum, limit)
    maximum = min(upper_bound(workers), limit)
    demand = observed.driver.demand if observed.driver is not None else None
    target = min(max(demand.workers if demand else 0, minimum), maximum)
    return Scale(minimum=minimum, maximum=maximum, target=target)


def upper_bound(workers: Workers) -> int:
    """Return the maximum of workers that a spec has, or the default where it has none."""
    return workers.maximum if workers.maximum is not None else default_maximum(workers.minimum)
