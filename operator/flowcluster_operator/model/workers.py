"""Numbers of workers: demand (of the driver) → target (of the operator) → requested (written) → observed (seen)."""

from __future__ import annotations

import math
from typing import NamedTuple

from flowcluster_api.v1alpha1 import Workers


class Scale(NamedTuple):
    """Workers of a run: the bounds after the administrator's limit is applied, and the target within them."""

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
        unchanged_for: since the number of worker Deployments, or the requested number, changed last.
        lowered_for: since the requested number became smaller; infinite if it never did.
    """

    unchanged_for: float = math.inf
    lowered_for: float = math.inf


class RequestState(NamedTuple):
    """Whether the upstream operator has served the run's last request for workers.

    Attributes:
        is_served: whether all requested workers existed once. The upstream operator does not replace a worker that is
            deleted after that.
        is_overtaken: whether the upstream operator has served a newer request of another run, and not this one.
        is_taken: whether the operator repeats a request of another run now.
        retries: how often the operator repeated this request.
    """

    is_served: bool = True
    is_overtaken: bool = False
    is_taken: bool = False
    retries: int = 0
