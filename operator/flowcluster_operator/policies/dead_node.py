"""Whether the node of a driver's pod is gone, where no heartbeat shows it. Pure.

The pods of a node that does not answer stay as they were. Kubernetes deletes them after some minutes, and only the
kubelet could confirm that: the pod stays, and its Job starts no other one before it has ended.
"""

from __future__ import annotations

import datetime as dt

from flowcluster_operator.model import Observed, PodFacts
from flowcluster_operator.policies.retries import attempts

#: Seconds past its grace period after which the deletion of a pod counts as never to be confirmed.
UNCONFIRMED_SECONDS = 30.0


def unconfirmed(observed: Observed, now: dt.datetime) -> str | None:
    """Return one sentence on the driver's pod whose deletion its node does not confirm; None where there is none."""
    pod = _deleted(observed)
    if pod is None or _seconds_left(pod, now) > 0:
        return None
    why = f" ({pod.disrupted.reason}: {pod.disrupted.message})" if pod.disrupted is not None else ""
    return (
        f"pod {pod.name} was deleted{why}, and {UNCONFIRMED_SECONDS:.0f} s after its grace period its node has not "
        "confirmed that it ended: the node, or its network, is gone"
    )


def next_unconfirmed(observed: Observed, now: dt.datetime) -> float | None:
    """Return the seconds until a deletion counts as unconfirmed; None where no driver's pod is being deleted."""
    pod = _deleted(observed)
    return max(_seconds_left(pod, now), 1.0) if pod is not None else None


def _deleted(observed: Observed) -> PodFacts | None:
    """The pod of the last attempt, if it is being deleted and has not ended."""
    pods = attempts(observed)
    return pods[-1] if pods and pods[-1].ended is None and pods[-1].gone_by is not None else None


def _seconds_left(pod: PodFacts, now: dt.datetime) -> float:
    assert pod.gone_by is not None
    return UNCONFIRMED_SECONDS - (now - pod.gone_by).total_seconds()
