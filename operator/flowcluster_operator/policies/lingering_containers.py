"""Containers that run on after the driver in their pod has failed. Pure.

A Job starts the next attempt when the pod of the last attempt has ended. A template or an admission webhook can add a
container that is not a native sidecar. Such a container may never end, and the Job would wait for it. The policy is not
needed after the final attempt, because the end of its driver ends the run.
"""

from __future__ import annotations

import datetime as dt

from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import Delete, NextStep
from flowcluster_operator.policies.backoff_limit import attempts
from flowcluster_operator.resources import POD

#: Seconds after the driver's end after which other containers count as lingering. Kubernetes ends native sidecars after
#: the driver, which takes up to the grace period of the pod.
LINGERING_SECONDS = 30.0


def delete_lingering_pod(observed: Observed, now: dt.datetime) -> NextStep:
    """Return the delete of the pod of an attempt that has ended, so that the next attempt can start."""
    pods = attempts(observed)
    if not pods or pods[-1].terminating or pods[-1].lingering_since is None:
        return NextStep()
    left = LINGERING_SECONDS - (now - pods[-1].lingering_since).total_seconds()
    if left > 0:
        return NextStep(requeue=max(left, 1.0))
    return NextStep((Delete(POD, pods[-1].name, pods[-1].uid),))
