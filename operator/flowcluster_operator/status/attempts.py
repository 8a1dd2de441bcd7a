"""Facts about pods that the status keeps when the pods are gone: the attempts of a run, and disruptions of its pods."""

from __future__ import annotations

from flowcluster_api import conditions as c
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.policies.backoff_limit import attempts
from flowcluster_operator.policies.causes import incidents
from flowcluster_operator.policies.driver_end import attempt_end, driver_end
from flowcluster_operator.resources import Object
from flowcluster_operator.status.draft import Draft


def record_incidents(observed: Observed, draft: Draft) -> None:
    """Add the disruptions of the run's pods to its story."""
    for incident in incidents(observed):
        draft.add_to_story(incident.reason, incident.message, warning=True, part=incident.part)


def record_attempts(observed: Observed, draft: Draft, flow: Object) -> None:
    """Count the attempts of the run, and add the end of each attempt to its story, except for that of the last one.

    Pods of earlier attempts may be gone. The status has the newest pod that was counted.
    """
    pods = attempts(observed)
    uids = [pod.uid for pod in pods]
    counted = (flow.get("lastAttempt") or {}).get("uid")
    new = pods[uids.index(counted) + 1 :] if counted in uids else pods
    flow["attempts"] = total = flow.get("attempts", 0) + len(new)
    if new:
        flow["lastAttempt"] = {"name": new[-1].name, "uid": new[-1].uid}
    is_over = driver_end(observed) is not None
    for number in range(flow.get("endedAttempts", 0) + 1, total + 1):
        index = number - 1 - total + len(pods)
        end = attempt_end(observed, pods[index]) if index >= 0 else None
        if (index >= 0 and end is None) or (number == total and (is_over or index < 0)):
            return  # the attempt still runs, or its end is that of the run
        where = f"attempt {number} in pod {pods[index].name}" if index >= 0 else f"attempt {number}"
        how = f"{end.reason}: {end.message}" if end is not None else "its pod is gone"
        draft.add_to_story(c.ATTEMPT_ENDED, f"{where} ended: {how}", warning=True)
        flow["endedAttempts"] = number
