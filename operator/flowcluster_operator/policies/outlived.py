"""A pod in which other containers run on after the driver has failed. Pure.

A Job starts the next attempt when the pod of the one before has ended. A container that a template or an admission
webhook has put beside the driver, and that is not a native sidecar, never ends: the Job would wait for ever. The end of
the last attempt ends the run, and needs none of this.
"""

from __future__ import annotations

import datetime as dt

from flowcluster_operator.model import Delete, Observed, Resizing
from flowcluster_operator.policies.retries import attempts
from flowcluster_operator.resources import POD

#: Seconds after which the containers beside a driver that has ended count as not ending. Kubernetes ends native
#: sidecars after the driver, which takes up to the grace period of the pod.
OUTLIVED_SECONDS = 30.0


def outlived(observed: Observed, now: dt.datetime) -> Resizing:
    """Return the delete of the pod of an attempt that has ended and that another one follows, so that it can follow."""
    pods = attempts(observed)
    if not pods or pods[-1].terminating or pods[-1].outlived_since is None:
        return Resizing()
    left = OUTLIVED_SECONDS - (now - pods[-1].outlived_since).total_seconds()
    if left > 0:
        return Resizing(requeue=max(left, 1.0))
    return Resizing((Delete(POD, pods[-1].name, pods[-1].uid),))
