"""Numbers of workers: demand (of the driver) → target (of the operator) → requested (written) → observed (existing)."""

from __future__ import annotations

import math
from typing import NamedTuple

from flowcluster_api.v1alpha1 import Workers


class Scale(NamedTuple):
    """Numbers of workers: the bounds, lowered to the administrator's limit, and the target within them."""

    minimum: int
    maximum: int
    target: int


class Group(NamedTuple):
    """A further worker group of a shared cluster.

    Attributes:
        name: of the group.
        workers: the spec of each of its workers.
        scale: bounds and target of their number.
    """

    name: str
    workers: Workers
    scale: Scale


class ReplicaStability(NamedTuple):
    """How long the number of workers of a cluster has been stable, in seconds.

    Attributes:
        unchanged_for: time since the number of worker Deployments, or the requested number, changed last.
        lowered_for: time since the requested number became smaller; infinite if it never did.
    """

    unchanged_for: float = math.inf
    lowered_for: float = math.inf


class RequestState(NamedTuple):
    """Whether the upstream operator has served the run's last request for workers.

    Attributes:
        is_served: whether all requested workers have existed. The upstream operator does not replace a worker that is
            deleted after that.
        is_overtaken: whether the upstream operator has served a newer request of another run, but not this one.
        has_to_wait: whether a repeated request of another run is in flight: this one cannot be repeated now.
        retries: how often the operator has repeated this request.
    """

    is_served: bool = True
    is_overtaken: bool = False
    has_to_wait: bool = False
    retries: int = 0
