"""Why a driver lost workers, where only Kubernetes knows the cause: it killed them at their memory limit."""

from __future__ import annotations

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.policies.causes import incidents
from flowcluster_operator.resources import Object

#: A part of the message that the SDK reports when the worker of a task run ended, on Dask and on Ray.
_LOST_WORKER = "lost its worker"


def with_lost_workers(message: str, observed: Observed, status: Object) -> str:
    """Return a driver's message with the reason why it lost a worker, where that is known and not in the message yet.

    The worker's pod may have been replaced already. The story then still has the reason.

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
