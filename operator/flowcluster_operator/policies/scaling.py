"""How many workers a run shall have."""

from __future__ import annotations

import dataclasses

from flowcluster_api.v1alpha1 import FlowRunSpec, Workers
from flowcluster_operator.settings import Settings


@dataclasses.dataclass(frozen=True)
class Scale:
    """Workers of a run: the bounds that hold after the administrator's limit, and the number wanted now."""

    minimum: int
    maximum: int
    target: int


def scale(spec: FlowRunSpec, settings: Settings) -> Scale:
    """The scale of a run. Without a sign of what the flow needs, a run gets all that it may have."""
    workers = (spec.cluster and spec.cluster.workers) or Workers()
    limit = settings.max_workers
    maximum = min(workers.maximum if workers.maximum is not None else max(workers.minimum, 1), limit)
    return Scale(minimum=min(workers.minimum, limit), maximum=maximum, target=maximum)
