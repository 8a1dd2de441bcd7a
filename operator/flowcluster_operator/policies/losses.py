"""What the driver cannot know of the workers that it lost: that Kubernetes killed them at their memory limit."""

from __future__ import annotations

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_operator.model import Observed
from flowcluster_operator.policies.causes import incidents
from flowcluster_operator.resources import Object

#: Part of what the SDK reports when the worker of a task run ended, on Dask and on Ray.
_LOST_WORKER = "lost its worker"


def with_losses(message: str, observed: Observed, status: Object) -> str:
    """Return a driver's message, completed by why it lost a worker, where that is known and not in it yet.

    The pod may be gone and replaced by then: the story still has it.
    """
    if _LOST_WORKER not in message:
        return message
    seen = [(item.reason, item.part, item.message) for item in incidents(observed)]
    recorded = [(entry["reason"], entry.get("part"), entry.get("message") or "") for entry in status.get("story") or []]
    for reason, part, words in [*seen, *reversed(recorded)]:
        if reason == c.OUT_OF_MEMORY and part == names.COMPONENT_WORKER:
            return message if words in message else f"{message} {words}"
    return message
