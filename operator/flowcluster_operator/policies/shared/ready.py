"""Whether a shared cluster can take work: its scheduler or head is Ready, and so is the minimum of each group."""

from __future__ import annotations

from flowcluster_api import conditions as c
from flowcluster_operator.policies.readiness import Readiness, readiness
from flowcluster_operator.policies.shared.parts import WorkerPart


def ready(parts: list[WorkerPart]) -> Readiness:
    """Return the readiness of the cluster, the first of whose parts is that of `spec.workers`."""
    verdict = readiness(parts[0].seen, parts[0].scale)
    waits = [
        f"{part.scale.minimum - part.ready} of {part.scale.minimum} workers of group {part.name}"
        for part in parts[1:]
        if part.ready < part.scale.minimum
    ]
    if not waits:
        return verdict
    known = f"{verdict.message} and " if not verdict.ready else "waiting for "
    return Readiness(False, c.WAITING, known + " and ".join(waits))
