"""The status of a shared cluster: its address, workers and users, its conditions and its phase."""

from __future__ import annotations

from flowcluster_api import conditions as c
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.model.conditions import is_true
from flowcluster_operator.model.shared import SharedObserved
from flowcluster_operator.policies.causes import Cause
from flowcluster_operator.policies.readiness import Readiness, ready_head
from flowcluster_operator.policies.shared.keeper import Scaling
from flowcluster_operator.policies.shared.loss import Loss, quick_losses
from flowcluster_operator.policies.shared.upgrade import Upgrade
from flowcluster_operator.policies.shared.worker_groups import DEFAULT, WorkerGroupState
from flowcluster_operator.resources import Object
from flowcluster_operator.settings import Settings
from flowcluster_operator.status.draft import Draft
from flowcluster_operator.timestamps import timestamp

#: Fields that only a cluster that exists has.
_OF_CLUSTER = ("startTime", "readyTime", "name", "address", "dashboard", "scheduler", "workers", "display")


def accept(seen: SharedObserved, draft: Draft) -> None:
    """Write that the spec is valid, and how many runs use the cluster or wait for it."""
    if not is_true(draft.status, c.ACCEPTED):
        draft.condition(c.ACCEPTED, True, c.SPEC_ACCEPTED, "the spec is valid")
    draft.status["kind"], draft.status["runs"] = seen.spec.kind, len(seen.users)


def fail(draft: Draft, reason: str, message: str, *, is_accepted: bool) -> None:
    """Write that no cluster can be built from the spec."""
    draft.phase("Failed")
    if not is_accepted:
        draft.condition(c.ACCEPTED, False, reason, message)
    draft.explain(reason, message)
    draft.summarise("failed", reason, message)
    draft.add_to_story(reason, message, warning=True)


def begin(seen: SharedObserved, draft: Draft, reason: str, message: str) -> None:
    """Write that the operator creates the cluster now, before any child exists."""
    draft.phase("Starting")
    for field in _OF_CLUSTER:
        draft.status.pop(field, None)
    draft.status["startTime"] = timestamp(draft.now)
    draft.status.setdefault("restarts", 0)
    draft.add_to_story(reason, message)
    draft.explain(c.WAITING, f"the {seen.spec.kind}Cluster is being created")
    draft.summarise("progressing", c.WAITING, draft.status["message"])


def stop(draft: Draft, phase: c.SharedPhase, reason: str, message: str) -> None:
    """Write that nothing of the cluster must exist for now. Later passes delete what exists."""
    is_new = draft.status.get("phase") != phase
    draft.phase(phase)
    for field in _OF_CLUSTER:
        draft.status.pop(field, None)
    if phase != "Rebuilding":
        draft.status.pop("lostTime", None)
        draft.status.pop("quickLosses", None)
    if is_new:
        draft.add_to_story(reason, message)
    draft.explain(reason, message)
    draft.condition(c.CLUSTER_READY, False, reason, message)
    draft.forget(c.SCALING, c.UP_TO_DATE)
    # A cluster that is off on purpose is what its spec describes.
    draft.summarise("ready" if phase in c.DORMANT_PHASES else "progressing", reason, message)


def explain_removal(draft: Draft, held: str | None) -> None:
    """Write what holds up the deletion of a stopped cluster; reason and message stay where nothing does."""
    if held:
        draft.explain(draft.status.get("reason") or c.CLEANING_UP, held)


def explain_pause(draft: Draft) -> None:
    """Write that the operator waits before it creates a lost cluster again."""
    message = "the cluster was lost several times within minutes: the operator creates it again later"
    draft.explain(c.CLUSTER_LOST, message)


def create(draft: Draft, why: Cause | None) -> None:
    """Write that the operator creates children, and the cause that holds the cluster up, if there is one."""
    if draft.status.get("phase") == "Failed":
        draft.phase("Starting")
    if why is not None:
        draft.add_to_story(why.reason, why.message, warning=True, part=why.part)
        draft.explain(why.reason, why.message)
        draft.summarise("progressing", why.reason, why.message)


def lose(draft: Draft, loss: Loss) -> None:
    """Write that the cluster is lost, and count it."""
    draft.status["quickLosses"] = quick_losses(draft.status, draft.now)
    draft.status["restarts"] = int(draft.status.get("restarts") or 0) + 1
    draft.status["lostTime"] = timestamp(draft.now)
    if loss.in_place:
        message = f"{loss.message}; another one takes its place"
        draft.phase("Rebuilding")
        for field in ("scheduler", "readyTime"):
            draft.status.pop(field, None)
        draft.add_to_story(c.CLUSTER_LOST, message, warning=True)
        draft.explain(c.CLUSTER_LOST, message)
        draft.condition(c.CLUSTER_READY, False, c.CLUSTER_LOST, message)
        draft.summarise("progressing", c.CLUSTER_LOST, message)
        return
    message = f"{loss.message}; another cluster follows when nothing is left of this one"
    draft.add_to_story(c.CLUSTER_LOST, message, warning=True)
    stop(draft, "Rebuilding", c.CLUSTER_LOST, message)


def record(
    seen: SharedObserved, draft: Draft, backend: Backend, groups: list[WorkerGroupState], settings: Settings
) -> None:
    """Write which parts of the cluster exist."""
    base, key = seen.base, seen.base.key
    draft.status.setdefault("startTime", timestamp(draft.now))  # another client removed it
    if base.cluster is None or "deletionTimestamp" in base.cluster["metadata"]:
        return
    name = base.cluster["metadata"]["name"]
    draft.status["name"] = name
    head = ready_head(base)
    if head is not None:
        # Only a cluster with a Ready head gets an address: resolvers cache a failure of a DNS name that does not exist
        # yet.
        draft.status["address"] = backend.address(name, key.namespace, settings, backend.credentials(base.cluster))
        draft.status["dashboard"] = backend.dashboard(name, key.namespace, settings)
        draft.status.setdefault("scheduler", {"pod": head.name, "uid": head.uid, "restarts": head.restarts})
    counts = [_counts(group, backend) for group in groups]
    draft.status["workers"] = counts
    ready, target = (sum(count[field] for count in counts) for field in ("ready", "target"))
    draft.status["display"] = {"workers": f"{ready}/{target}"}


def _counts(group: WorkerGroupState, backend: Backend) -> Object:
    return {
        "name": group.name or DEFAULT,
        "minimum": group.scale.minimum,
        "maximum": group.scale.maximum,
        "target": group.requested if backend.scales_itself else group.scale.target,
        "requested": group.requested,
        "ready": group.ready,
    }


def update_progress(
    draft: Draft, verdict: Readiness, why: Cause | None, upgrade: Upgrade | None, scaling: Scaling
) -> bool:
    """Write conditions and phase; return whether the cluster is usable and waits for nothing."""
    _update_phase(draft, verdict)
    draft.condition(c.CLUSTER_READY, verdict.ready, verdict.reason, verdict.message)
    draft.condition(c.SCALING, *scaling)
    if upgrade is None:
        draft.condition(c.UP_TO_DATE, True, c.CURRENT, "the cluster was built from the spec as it is now")
    else:
        if is_true(draft.status, c.UP_TO_DATE):
            draft.add_to_story(upgrade.reason, upgrade.message)
        draft.condition(c.UP_TO_DATE, False, upgrade.reason, upgrade.message)
    is_usable = draft.status["phase"] == "Ready"
    if why is not None:
        draft.add_to_story(why.reason, why.message, warning=True, part=why.part)
        draft.explain(why.reason, why.message)
    elif not verdict.ready:
        draft.explain(c.WAITING, verdict.message)
    elif upgrade is not None:
        draft.explain(upgrade.reason, upgrade.message)
    else:
        draft.explain(c.CLUSTER_USABLE, "the cluster can take work")
    draft.summarise("ready" if is_usable else "progressing", draft.status["reason"], draft.status["message"])
    return is_usable and verdict.ready


def _update_phase(draft: Draft, verdict: Readiness) -> None:
    """Write the phase that follows from the readiness. A cluster that was Ready stays so if it lacks workers."""
    phase = draft.status.get("phase")
    if verdict.ready:
        if phase == "Rebuilding":
            draft.add_to_story(c.REBUILT, f"another scheduler has taken the place of the lost one: {verdict.message}")
        elif phase != "Ready":
            draft.add_to_story(c.CLUSTER_USABLE, verdict.message)
        draft.status.pop("lostTime", None)
        draft.stamp("readyTime")
        draft.phase("Ready")
    elif phase not in ("Ready", "Rebuilding"):
        draft.phase("Starting")
