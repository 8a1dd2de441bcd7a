"""The plan that deletes what is left of a FlowRun or SharedCluster of which nothing is to exist for now. Pure."""

from __future__ import annotations

import datetime as dt

from flowcluster_operator.model import Observed, Plan
from flowcluster_operator.policies import teardown
from flowcluster_operator.policies.dead_node import forced, next_forced
from flowcluster_operator.reconcile.pauses import LOOK_SECONDS
from flowcluster_operator.settings import Settings


def removal(observed: Observed, settings: Settings, now: dt.datetime) -> Plan:
    """Return the plan; pods of a cluster do not wait for a node that is gone."""
    looks = (teardown.stuck_in(observed, settings, now) or LOOK_SECONDS, next_forced(observed, now))
    return Plan(
        actions=(*teardown.removals(observed, settings, now), *forced(observed, now)),
        requeue=min(look for look in looks if look is not None),
    )
