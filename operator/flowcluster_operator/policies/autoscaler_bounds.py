"""The bounds of a cluster whose own autoscaler sets the number of workers."""

from __future__ import annotations

from flowcluster_api import names
from flowcluster_operator.backends.base import Scalable
from flowcluster_operator.model.identity import name_and_uid
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import NextStep, SetWorkers
from flowcluster_operator.model.workers import Scale


def update_bounds(observed: Observed, scalable: Scalable, scale: Scale) -> NextStep:
    """Return the next step towards these bounds.

    The maximum is never lowered below the number of workers that exist: Ray's autoscaler would stop the surplus workers
    immediately, even busy ones. Instead it removes each worker when that becomes idle, and the maximum follows.

    Args:
        observed: the run, or the shared cluster with the workers of one group.
        scalable: how the bounds are read and written.
        scale: the bounds.
    """
    cluster = observed.cluster
    if cluster is None or "deletionTimestamp" in cluster["metadata"] or not scalable.upstream_has_started(observed):
        return NextStep()
    live = observed.live(names.COMPONENT_WORKER)
    patch = scalable.scale_patch(cluster, scale._replace(maximum=max(scale.maximum, live)))
    return NextStep((SetWorkers(scalable.resource, *name_and_uid(cluster), patch),)) if patch else NextStep()
