"""The bounds of a cluster that finds out by itself how many workers it needs."""

from __future__ import annotations

from flowcluster_api import names
from flowcluster_operator.backends.base import Sizes
from flowcluster_operator.model import Observed, Resizing, Scale, SetWorkers, identity


def rebounding(observed: Observed, backend: Sizes, scale: Scale) -> Resizing:
    """The next step towards these bounds.

    The upper one is lowered no further than to the number of workers that there are: Ray's autoscaler would stop those
    that are too many at once, whatever they do. One by one they are idle some time, and go then.
    """
    cluster = observed.cluster
    if cluster is None or "deletionTimestamp" in cluster["metadata"] or not backend.acted_on(observed):
        return Resizing()
    live = sum(not pod.terminating and pod.ended is None for pod in observed.of(names.COMPONENT_WORKER))
    patch = backend.sized(cluster, scale._replace(maximum=max(scale.maximum, live)))
    return Resizing((SetWorkers(backend.resource, *identity(cluster), patch),)) if patch else Resizing()
