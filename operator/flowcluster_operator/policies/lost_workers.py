"""Why a driver lost workers, where only Kubernetes knows: it killed them at their memory limit."""

from __future__ import annotations

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.policies.causes import incidents
from flowcluster_operator.resources import Object

#: Part of what the SDK reports when the worker of a task run ended, on Dask and on Ray.
_LOST_WORKER = "lost its worker"


def with_lost_workers(message: str, observed: Observed, status: Object) -> str:
    """Return a driver's message, completed by why it lost a worker, where that is known and not in it yet.

    The pod may be deleted and replaced by then: the story still has it.

    Args:
        message: of the driver.
        observed: the run.
        status: of the run, with its story.
    """
    if _LOST_WORKER not in message:
        return message
    seen = [(item.reason, item.part, item.message) for item in incidents(observed)]
    recorded = [(entry["reason"], entry.get("part"), entry.get("message") or "") for entry in status.get("story") or []]
    for reason, part, text in [*seen, *reversed(recorded)]:
        if reason == c.OUT_OF_MEMORY and part == names.COMPONENT_WORKER:
            return message if text in message else f"{message} {text}"
    return message
