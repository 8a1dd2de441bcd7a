"""The worker groups of a shared cluster, each with what counts of it: policies of runs work on each one."""

from __future__ import annotations

from typing import NamedTuple

from flowcluster_api import names
from flowcluster_api.v1alpha1 import Workers
from flowcluster_operator.backends.base import Backend, Sizes
from flowcluster_operator.desired.fingerprint import fingerprint
from flowcluster_operator.model import Group, Observed, Resizing, Scale
from flowcluster_operator.policies.bounds import rebounding
from flowcluster_operator.policies.readiness import ready_workers
from flowcluster_operator.policies.resizing import resizing
from flowcluster_operator.policies.scaling import scale
from flowcluster_operator.settings import Settings
from flowcluster_operator.shared_model import SharedObserved

#: The name in the status of the workers of `spec.workers`.
DEFAULT = "default"


class WorkerPart(NamedTuple):
    """One worker group.

    Attributes:
        name: of a further group; empty for the workers of `spec.workers`.
        seen: the cluster with the workers of this group only.
        scale: bounds and target.
        threads: of each worker.
        sizes: how the number of workers is read and written.
        exists: whether the cluster has the group. After an edit it may lack one until it is upgraded.
    """

    name: str
    seen: Observed
    scale: Scale
    threads: int
    sizes: Sizes
    exists: bool

    @property
    def requested(self) -> int:
        """Workers that are requested from the upstream operator."""
        if not self.exists or self.seen.cluster is None:
            return self.scale.target
        return self.sizes.workers(self.seen.cluster)

    @property
    def ready(self) -> int:
        """Workers that are Ready."""
        return ready_workers(self.seen)


def worker_parts(seen: SharedObserved, backend: Backend, settings: Settings) -> list[WorkerPart]:
    """Return all worker groups, that of `spec.workers` first."""
    assert seen.spec is not None
    own = seen.of_group(None)
    threads, has_cluster = (seen.spec.workers or Workers()).threads, seen.base.cluster is not None
    parts = [WorkerPart("", own, scale(own, settings), threads, backend, has_cluster)]
    is_current = has_cluster and not is_outdated(seen, settings)
    for number, facts in enumerate(seen.groups):
        of_group, name = seen.of_group(facts), facts.group.name
        sizes = backend.group_sizes(number, name)
        exists = is_current if backend.scales_itself else facts.resource is not None
        parts.append(WorkerPart(name, of_group, scale(of_group, settings), facts.group.threads, sizes, exists))
    return parts


def groups_to_build(seen: SharedObserved, parts: list[WorkerPart]) -> list[Group]:
    """Return the further groups as builders take them."""
    return [
        Group(facts.group.name, facts.group, part.scale) for facts, part in zip(seen.groups, parts[1:], strict=True)
    ]


def steps(parts: list[WorkerPart], backend: Backend) -> list[Resizing]:
    """Return the next step of each group towards its target."""
    step = rebounding if backend.scales_itself else resizing
    return [step(part.seen, part.sizes, part.scale) for part in parts if part.exists]


def is_outdated(seen: SharedObserved, settings: Settings) -> bool:
    """Return whether the cluster was built from another spec than the present one."""
    if seen.base.cluster is None or seen.spec is None:
        return False
    labels = seen.base.cluster["metadata"].get("labels") or {}
    return labels.get(names.LABEL_TEMPLATE) != fingerprint(seen.spec, settings)
