"""The plan that deletes what is left of a FlowRun or SharedCluster of which nothing must exist for now. Pure."""

from __future__ import annotations

import datetime as dt

from flowcluster_operator.model.observed import Remains
from flowcluster_operator.model.plan import Plan
from flowcluster_operator.policies import teardown
from flowcluster_operator.policies.dead_node import forced, next_forced
from flowcluster_operator.reconcile.intervals import CHECK_SECONDS
from flowcluster_operator.settings import Settings


def deletion(remains: Remains, settings: Settings, now: dt.datetime) -> Plan:
    """Return the plan. It also deletes pods of the cluster whose node is gone."""
    checks = (teardown.stuck_in(remains, settings, now) or CHECK_SECONDS, next_forced(remains, now))
    return Plan(
        actions=(*teardown.removals(remains, settings, now), *forced(remains, now)),
        requeue=min(check for check in checks if check is not None),
    )
