"""The worker groups of a shared cluster. The policies for the workers of a run apply to each group."""

from __future__ import annotations

from typing import NamedTuple

from flowcluster_api import names
from flowcluster_api.v1alpha1 import Workers
from flowcluster_operator.backends.base import Backend, Scalable
from flowcluster_operator.desired.template_hash import template_hash
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import NextStep
from flowcluster_operator.model.shared import SharedObserved
from flowcluster_operator.model.workers import Group, Scale
from flowcluster_operator.policies.autoscaler_bounds import update_bounds
from flowcluster_operator.policies.readiness import ready_workers
from flowcluster_operator.policies.replicas import next_replicas
from flowcluster_operator.policies.scale_target import scale
from flowcluster_operator.settings import Settings

#: In status, the name of the group of `spec.workers`.
DEFAULT = "default"


class WorkerGroupState(NamedTuple):
    """One worker group.

    Attributes:
        name: of a further group; empty for the workers of `spec.workers`.
        seen: the cluster with the workers of this group only.
        scale: bounds and target.
        threads: of each worker.
        scalable: how the number of workers is read and written.
        exists: whether the cluster has the group. After an edit, it may lack a new group until it is replaced.
    """

    name: str
    seen: Observed
    scale: Scale
    threads: int
    scalable: Scalable
    exists: bool

    @property
    def requested(self) -> int:
        """Workers that are requested from the upstream operator."""
        if not self.exists or self.seen.cluster is None:
            return self.scale.target
        return self.scalable.requested_workers(self.seen.cluster)

    @property
    def ready(self) -> int:
        """Workers that are Ready."""
        return ready_workers(self.seen)


def worker_groups(seen: SharedObserved, backend: Backend, settings: Settings) -> list[WorkerGroupState]:
    """Return all worker groups, that of `spec.workers` first."""
    own = seen.of_group(None)
    threads, has_cluster = (seen.spec.workers or Workers()).threads, seen.base.cluster is not None
    groups = [WorkerGroupState("", own, scale(own, settings), threads, backend, has_cluster)]
    is_current = has_cluster and not is_outdated(seen, settings)
    for index, facts in enumerate(seen.groups):
        of_group, name = seen.of_group(facts), facts.group.name
        scalable = backend.scalable_group(index, name)
        exists = is_current if backend.scales_itself else facts.resource is not None
        state = WorkerGroupState(name, of_group, scale(of_group, settings), facts.group.threads, scalable, exists)
        groups.append(state)
    return groups


def groups_to_build(seen: SharedObserved, groups: list[WorkerGroupState]) -> list[Group]:
    """Return the further groups, in the form in which `Backend.build` takes them."""
    return [
        Group(facts.group.name, facts.group, state.scale) for facts, state in zip(seen.groups, groups[1:], strict=True)
    ]


def scale_steps(groups: list[WorkerGroupState], backend: Backend) -> list[NextStep]:
    """Return the next step of each group towards its target."""
    step = update_bounds if backend.scales_itself else next_replicas
    return [step(group.seen, group.scalable, group.scale) for group in groups if group.exists]


def is_outdated(seen: SharedObserved, settings: Settings) -> bool:
    """Return whether the cluster was built from another spec than the present one."""
    if seen.base.cluster is None:
        return False
    labels = seen.base.cluster["metadata"].get("labels") or {}
    return labels.get(names.LABEL_TEMPLATE) != template_hash(seen.spec, settings)
