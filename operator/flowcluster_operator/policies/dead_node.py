"""Pods whose node is gone: Kubernetes deletes them, and no kubelet confirms that they ended. Pure.

The pods of a node that does not answer stay as they were. Kubernetes deletes them after some minutes, and only the
kubelet could confirm that: the pod stays, and its controller stays with it.

A cluster's pod that stays would keep the run from another cluster until an administrator removes the node. The operator
deletes such a pod without waiting for its node, as `kubectl delete --force` does. A process that still runs there can
do no harm: another cluster of the run has other credentials. A driver's pod stays: a flow that may still run must not
run twice.
"""

from __future__ import annotations

import datetime as dt

from flowcluster_api import names
from flowcluster_operator.model.observed import Observed, Remains
from flowcluster_operator.model.plan import Delete
from flowcluster_operator.model.pods import PodFacts
from flowcluster_operator.policies.backoff_limit import attempts
from flowcluster_operator.resources import POD

#: Seconds past its grace period after which the operator expects no confirmation of a pod's deletion any more.
UNCONFIRMED_SECONDS = 30.0


def unconfirmed(observed: Observed, now: dt.datetime) -> str | None:
    """Return one sentence on the driver's pod whose deletion its node does not confirm; None where there is none."""
    pod = _deleted(observed)
    return _sentence(pod) if pod is not None and _is_unconfirmed(pod, now) else None


def next_unconfirmed(observed: Observed, now: dt.datetime) -> float | None:
    """Return the seconds until a deletion counts as unconfirmed; None where no driver's pod is being deleted."""
    pod = _deleted(observed)
    return None if pod is None or pod.gone_by is None else max(_seconds_left(pod.gone_by, now), 1.0)


def waiting_for_node(remains: Remains, now: dt.datetime) -> str | None:
    """Return one sentence on the first pod of the run that waits for a node which is gone; None where none does."""
    found = (pod for pod in remains.pods if _is_unconfirmed(pod, now))
    return next(map(_sentence, found), None)


def forced(remains: Remains, now: dt.datetime) -> list[Delete]:
    """Return the deletes of pods that do not wait for their node any longer."""
    late = [pod for pod, gone_by in _forcible(remains) if _seconds_left(gone_by, now) <= 0]
    return [Delete(POD, pod.name, pod.uid, background=True, forced=True) for pod in late]


def next_forced(remains: Remains, now: dt.datetime) -> float | None:
    """Return the seconds until a pod does not wait for its node any longer; None where no pod waits."""
    return min((max(_seconds_left(gone_by, now), 1.0) for _, gone_by in _forcible(remains)), default=None)


def _forcible(remains: Remains) -> list[tuple[PodFacts, dt.datetime]]:
    """Return the pods that are being deleted and can be deleted without their node, and when each has to be gone."""
    return [
        (pod, pod.gone_by)
        for pod in remains.pods
        if pod.gone_by is not None and not pod.is_forced and _is_dispensable(pod)
    ]


def _deleted(observed: Observed) -> PodFacts | None:
    """Return the pod of the last attempt, if it is being deleted and has not ended."""
    pods = attempts(observed)
    return pods[-1] if pods and pods[-1].ended is None and pods[-1].gone_by is not None else None


def _is_dispensable(pod: PodFacts) -> bool:
    """Return whether nothing is lost when a pod that may still run counts as ended."""
    return pod.component != names.COMPONENT_DRIVER or pod.ended is not None


def _is_unconfirmed(pod: PodFacts, now: dt.datetime) -> bool:
    return pod.gone_by is not None and _seconds_left(pod.gone_by, now) <= 0


def _seconds_left(gone_by: dt.datetime, now: dt.datetime) -> float:
    return UNCONFIRMED_SECONDS - (now - gone_by).total_seconds()


def _sentence(pod: PodFacts) -> str:
    why = f" ({pod.disrupted.reason}: {pod.disrupted.message})" if pod.disrupted is not None else ""
    return (
        f"pod {pod.name} was deleted{why}, and {UNCONFIRMED_SECONDS:.0f} s after its grace period its node has not "
        "confirmed that it ended: the node, or its network, is gone"
    )
