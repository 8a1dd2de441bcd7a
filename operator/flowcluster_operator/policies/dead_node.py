"""Pods whose node is gone: Kubernetes deletes them, and no kubelet confirms that they ended. Pure.

Kubernetes deletes the pods of a node that does not answer after some minutes. Only the kubelet of that node can confirm
that a pod has ended. Until then the pod object exists, and so does its Job or Deployment.

Such a pod of a cluster would keep the run from starting on another cluster until an administrator removes the node. So
the operator deletes it without waiting for the node, as `kubectl delete --force` does. A process that still runs there
can do no harm: the next cluster of the run has other credentials. The operator does not force the deletion of a
driver's
pod: its flow may still run, and must not run twice.
"""

from __future__ import annotations

import datetime as dt

from flowcluster_api import names
from flowcluster_operator.model.observed import Observed, Remains
from flowcluster_operator.model.plan import Delete
from flowcluster_operator.model.pods import PodFacts
from flowcluster_operator.policies.backoff_limit import attempts
from flowcluster_operator.resources import POD

#: Seconds after a pod's grace period for which the operator waits for the kubelet to confirm that the pod has ended.
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
    """Return one sentence on the first pod of the run whose node does not confirm its deletion; None without one."""
    found = (pod for pod in remains.pods if _is_unconfirmed(pod, now))
    return next(map(_sentence, found), None)


def forced(remains: Remains, now: dt.datetime) -> list[Delete]:
    """Return the deletes, without waiting for the node, of pods whose time to be confirmed has passed."""
    late = [pod for pod, gone_by in _forcible(remains) if _seconds_left(gone_by, now) <= 0]
    return [Delete(POD, pod.name, pod.uid, background=True, forced=True) for pod in late]


def next_forced(remains: Remains, now: dt.datetime) -> float | None:
    """Return the seconds until the next pod can be deleted without its node; None where no pod waits for its node."""
    return min((max(_seconds_left(gone_by, now), 1.0) for _, gone_by in _forcible(remains)), default=None)


def _forcible(remains: Remains) -> list[tuple[PodFacts, dt.datetime]]:
    """Return the pods that wait for their node and can be deleted without it, each with the end of its grace period."""
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
    """Return whether a pod can count as ended although it may still run."""
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
