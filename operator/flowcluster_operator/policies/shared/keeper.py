"""What the keeper of a shared cluster reports, and whether it is silent. A silent keeper ends nothing."""

from __future__ import annotations

from typing import NamedTuple

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_api.keeper import SILENT_SECONDS
from flowcluster_api.lease import Demand
from flowcluster_api.v1alpha1 import Workers
from flowcluster_operator.model.shared import SharedObserved
from flowcluster_operator.model.workers import Scale


class Scaling(NamedTuple):
    """The condition `Scaling`: whether the number of workers follows the work, and why."""

    holds: bool
    reason: str
    message: str


def scaling(seen: SharedObserved, scales_itself: bool, bounds: list[Scale]) -> Scaling:
    """Return the condition `Scaling`.

    Args:
        seen: the cluster.
        scales_itself: whether the cluster's own autoscaler sets the number of workers.
        bounds: of all worker groups.
    """
    if all(each.minimum == each.maximum for each in bounds):
        return Scaling(True, c.FIXED_SIZE, "minimum and maximum of workers are equal")
    if scales_itself:
        return Scaling(True, c.CURRENT, "the autoscaler of Ray sets the number of workers")
    keeper = seen.base.driver
    if keeper is None or keeper.holder is None:
        message = f"waiting for the keeper{_blocked(seen)}, which reports how many workers the work needs"
        return Scaling(False, c.WAITING, message)
    if is_silent(seen):
        return Scaling(
            False,
            c.KEEPER_SILENT,
            f"no heartbeat of the keeper {keeper.holder} for {SILENT_SECONDS} s{_blocked(seen)}: the number of workers "
            "does not change",
        )
    return Scaling(True, c.KEEPER_CONNECTED, f"the keeper {keeper.holder} reports how many workers the work needs")


def _blocked(seen: SharedObserved) -> str:
    """Return why the keeper's pod does not run, in parentheses; empty where no cause is known."""
    for pod in seen.base.of(names.COMPONENT_KEEPER):
        if pod.blocked is not None:
            return f" (pod {pod.name}: {pod.blocked.reason}: {pod.blocked.message})"
    return ""


def is_silent(seen: SharedObserved) -> bool:
    """Return whether the keeper's last heartbeat is too old to act on its report."""
    keeper = seen.base.driver
    return keeper is None or keeper.holder is None or keeper.silent_for >= SILENT_SECONDS


def next_silence(seen: SharedObserved) -> float | None:
    """Return the seconds until the keeper counts as silent, if it does not renew the Lease before."""
    keeper = seen.base.driver
    return None if keeper is None or is_silent(seen) else SILENT_SECONDS - keeper.silent_for


def idle_seconds(seen: SharedObserved) -> int | None:
    """Return the seconds without work that the keeper reports; None where it is silent, or reports work or demand."""
    keeper = seen.base.driver
    if keeper is None or is_silent(seen) or keeper.progress is None:
        return None
    return None if _has_demand(seen, keeper.demand) else keeper.progress.idle


def _has_demand(seen: SharedObserved, demand: Demand | None) -> bool:
    """Return whether the keeper requests more workers than a group's minimum, which it also requests without work."""
    if demand is None:
        return False
    minima = {"": (seen.spec.workers or Workers()).minimum} | {
        item.name: item.minimum for item in seen.spec.worker_groups
    }
    return any(number > minima.get(name, 0) for name, number in (("", demand.workers), *demand.groups))
