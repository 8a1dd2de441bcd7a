"""Whether a shared cluster can take work: its scheduler or head is Ready, and so is the minimum of each group."""

from __future__ import annotations

from flowcluster_api import conditions as c
from flowcluster_operator.policies.readiness import Readiness, readiness
from flowcluster_operator.policies.shared.worker_groups import WorkerGroupState


def shared_readiness(groups: list[WorkerGroupState]) -> Readiness:
    """Return the readiness of the cluster. The first of `groups` is that of `spec.workers`."""
    verdict = readiness(groups[0].seen, groups[0].scale.minimum)
    waits = [
        f"{group.scale.minimum - group.ready} of {group.scale.minimum} workers of group {group.name}"
        for group in groups[1:]
        if group.ready < group.scale.minimum
    ]
    if not waits:
        return verdict
    known = f"{verdict.message} and " if not verdict.ready else "waiting for "
    return Readiness(False, c.WAITING, known + " and ".join(waits))
