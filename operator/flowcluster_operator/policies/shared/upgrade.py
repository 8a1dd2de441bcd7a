"""Whether and when a shared cluster is replaced because its spec has changed."""

from __future__ import annotations

from typing import NamedTuple

from flowcluster_api import conditions as c
from flowcluster_operator.model.shared import SharedObserved
from flowcluster_operator.policies.admission import Refusal
from flowcluster_operator.policies.idleness import CONFIRMED_SECONDS
from flowcluster_operator.policies.shared.idle_shutdown import has_grown
from flowcluster_operator.policies.shared.keeper import idle_seconds
from flowcluster_operator.policies.shared.worker_groups import is_outdated
from flowcluster_operator.resources import Object
from flowcluster_operator.settings import Settings

#: Seconds without work after which a cluster counts as idle.
IDLE_SECONDS = 5


class Upgrade(NamedTuple):
    """An edit of the spec that replaces the cluster.

    Attributes:
        is_due: whether the cluster is replaced now.
        reason: one CamelCase word.
        message: what it waits for, or why it happens.
    """

    is_due: bool
    reason: str
    message: str


def upgrade(seen: SharedObserved, status: Object, settings: Settings, problem: Refusal | None) -> Upgrade | None:
    """Return the upgrade that is due or waits; None where the cluster is up to date.

    Args:
        seen: the cluster.
        status: as it was written last.
        settings: of the operator.
        problem: why no cluster can be built from the new spec, so that the present one stays; None where one can.
    """
    if not is_outdated(seen, settings):
        return None
    if problem is not None:
        return Upgrade(False, problem.reason, f"the cluster stays as it is: {problem.message}")
    if "readyTime" not in status:
        return Upgrade(True, c.UPGRADING, "the spec has changed before the cluster was usable")
    if seen.spec.upgrade == "Now":
        return Upgrade(True, c.UPGRADING, "the spec has changed (spec.upgrade: Now)")
    if seen.users:
        runs = f"{len(seen.users)} run{'s' if len(seen.users) > 1 else ''}"
        return _pending(f"until {runs} on the cluster have ended")
    driver = seen.base.driver
    if not seems_idle(seen) or driver is None or driver.idle_confirmed_for < CONFIRMED_SECONDS:
        return _pending("until the keeper reports that nothing runs on the cluster")
    return Upgrade(True, c.UPGRADING, "the spec has changed, and nothing runs on the cluster")


def seems_idle(seen: SharedObserved) -> bool:
    """Return whether no run uses the cluster and the keeper reports no work, even if that is not confirmed yet."""
    idle = idle_seconds(seen)
    return not seen.users and idle is not None and idle >= IDLE_SECONDS and not has_grown(seen)


def _pending(until: str) -> Upgrade:
    message = f"the spec has changed: the cluster is replaced later, it waits {until} (spec.upgrade: WhenIdle)"
    return Upgrade(False, c.UPGRADE_PENDING, message)
