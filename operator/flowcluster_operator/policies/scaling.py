"""How many workers a run shall have."""

from __future__ import annotations

from flowcluster_api.v1alpha1 import Workers
from flowcluster_operator.model import Observed, Scale
from flowcluster_operator.settings import Settings


def scale(observed: Observed, settings: Settings) -> Scale:
    """The scale of a run: what its driver needs, within the bounds.

    One that has not yet said what it needs gets the minimum.
    """
    spec = observed.spec
    assert spec is not None
    workers = (spec.cluster and spec.cluster.workers) or Workers()
    limit = settings.max_workers
    minimum = min(workers.minimum, limit)
    maximum = min(workers.maximum if workers.maximum is not None else max(workers.minimum, 1), limit)
    demand = observed.driver.demand if observed.driver is not None else None
    needed = demand.workers if demand else 0
    target = min(max(needed, minimum), maximum)
    return Scale(minimum=minimum, maximum=maximum, target=target)
