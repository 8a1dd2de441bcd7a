"""What the keeper of a shared cluster reports, and whether it is there at all. Its silence ends nothing."""

from __future__ import annotations

from typing import NamedTuple

from flowcluster_api import conditions as c
from flowcluster_api import handover, names
from flowcluster_api.keeper import SILENT_SECONDS, Bounds, LiveRun, listable, patch, read
from flowcluster_api.lease import Demand
from flowcluster_api.v1alpha1 import Workers
from flowcluster_operator.model import Amend, Scale
from flowcluster_operator.policies.shared.parts import WorkerPart
from flowcluster_operator.resources import LEASE
from flowcluster_operator.shared_model import SharedObserved


class Verdict(NamedTuple):
    """Whether the number of workers follows the work, and why."""

    holds: bool
    reason: str
    message: str


def scaling(seen: SharedObserved, scales_itself: bool, bounds: list[Scale]) -> Verdict:
    """Return the condition `Scaling`.

    Args:
        seen: the cluster.
        scales_itself: whether the cluster finds out by itself how many workers it needs.
        bounds: of all worker groups.
    """
    if all(each.minimum == each.maximum for each in bounds):
        return Verdict(True, c.FIXED_SIZE, "minimum and maximum of workers are equal")
    if scales_itself:
        return Verdict(True, c.CURRENT, "the autoscaler of Ray sets the number of workers")
    signs = seen.base.driver
    if signs is None or signs.holder is None:
        words = f"waiting for the keeper{_blocked(seen)}, which reports how many workers the work needs"
        return Verdict(False, c.WAITING, words)
    if is_silent(seen):
        return Verdict(
            False,
            c.KEEPER_SILENT,
            f"no heartbeat of the keeper {signs.holder} for {SILENT_SECONDS} s{_blocked(seen)}: the number of workers "
            "stays",
        )
    return Verdict(True, c.KEEPER_CONNECTED, f"the keeper {signs.holder} reports how many workers the work needs")


def _blocked(seen: SharedObserved) -> str:
    """Return why the keeper's pod does not run, in parentheses; empty where no cause is known."""
    for pod in seen.base.of(names.COMPONENT_KEEPER):
        if pod.blocked is not None:
            return f" (pod {pod.name}: {pod.blocked.reason}: {pod.blocked.message})"
    return ""


def is_silent(seen: SharedObserved) -> bool:
    """Return whether what the keeper reported is too old to act on."""
    signs = seen.base.driver
    return signs is None or signs.holder is None or signs.silent >= SILENT_SECONDS


def next_silence(seen: SharedObserved) -> float | None:
    """Return seconds until the keeper counts as silent, if it does not renew the Lease before."""
    signs = seen.base.driver
    return None if signs is None or is_silent(seen) else SILENT_SECONDS - signs.silent


def idle_seconds(seen: SharedObserved) -> int | None:
    """Return the seconds for which nothing has run, as the keeper reports; None where it does not report, or cannot."""
    signs = seen.base.driver
    if signs is None or is_silent(seen) or signs.progress is None:
        return None
    return None if _has_demand(seen, signs.demand) else signs.progress.idle


def _has_demand(seen: SharedObserved, demand: Demand | None) -> bool:
    """Whether the keeper requests more than the minimum of a worker group, which it requests without work, too."""
    if demand is None or seen.spec is None:
        return False
    minima = {"": (seen.spec.workers or Workers()).minimum} | {
        item.name: item.minimum for item in seen.spec.worker_groups
    }
    return any(number > minima.get(name, 0) for name, number in (("", demand.workers), *demand.groups))


def instructing(seen: SharedObserved, parts: list[WorkerPart]) -> Amend | None:
    """Return the change of the Lease by which the keeper learns what holds now; None where the Lease has that.

    One write has both for a new run of another namespace: its place in the list, and the request for its credentials.
    """
    lease = seen.base.lease
    if lease is None or "deletionTimestamp" in lease["metadata"]:
        return None
    groups = tuple((part.name, _bounds(part)) for part in parts)
    runs = [LiveRun.of(user.uid, user.priority, user.threads) for user in seen.users]
    known = read(lease)
    wanted = listable(groups, runs, known.digests if known is not None else ())
    is_known = known is not None and known.to_json() == wanted.to_json()
    annotations = {} if is_known else dict(patch(wanted)["metadata"]["annotations"])
    requests = handover.text_of(seen.requests)
    if requests != handover.text_in(lease, handover.ANNOTATION_REQUESTS):
        annotations[handover.ANNOTATION_REQUESTS] = requests
    if not annotations:
        return None
    change = {"metadata": {"annotations": annotations}}
    return Amend(LEASE, lease["metadata"]["name"], lease["metadata"]["uid"], change)


def _bounds(part: WorkerPart) -> Bounds:
    spec = part.seen.spec
    workers = spec.cluster.workers if spec is not None and spec.cluster is not None else None
    offered = tuple(sorted(workers.task_resources.items())) if workers is not None else ()
    return Bounds(part.scale.minimum, part.scale.maximum, part.threads, offered)
