"""How far a shared cluster is, written into its status: address, workers, users, conditions and the phase."""

from __future__ import annotations

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.facts import timestamp
from flowcluster_operator.policies.causes import Cause
from flowcluster_operator.policies.readiness import Readiness, ready_leader
from flowcluster_operator.policies.shared.keeper import Verdict
from flowcluster_operator.policies.shared.loss import Loss, quick_losses
from flowcluster_operator.policies.shared.parts import DEFAULT, WorkerPart
from flowcluster_operator.policies.shared.upgrading import Upgrade
from flowcluster_operator.resources import Object
from flowcluster_operator.settings import Settings
from flowcluster_operator.shared_model import SharedObserved
from flowcluster_operator.status import Draft, is_true

#: Fields that describe a cluster that exists.
_OF_CLUSTER = ("startTime", "readyTime", "name", "address", "dashboard", "scheduler", "workers", "display")


def accept(seen: SharedObserved, draft: Draft) -> None:
    """Write that the spec is valid, and who uses the cluster."""
    assert seen.spec is not None
    if not is_true(draft.status, c.ACCEPTED):
        draft.condition(c.ACCEPTED, True, c.SPEC_ACCEPTED, "the spec is valid")
    draft.status["kind"], draft.status["runs"] = seen.spec.kind, len(seen.users)


def fail(draft: Draft, reason: str, message: str, *, is_accepted: bool) -> None:
    """Write that no cluster can be made from the spec."""
    draft.phase("Failed")
    if not is_accepted:
        draft.condition(c.ACCEPTED, False, reason, message)
    draft.explain(reason, message)
    draft.summarise("failed", reason, message)
    draft.tell(reason, message, warning=True)


def begin(seen: SharedObserved, draft: Draft, reason: str, message: str) -> None:
    """Write that the cluster is created now, before any child exists."""
    assert seen.spec is not None
    name = names.child_name(seen.base.key.name, seen.base.key.uid)
    draft.phase("Starting")
    for field in _OF_CLUSTER:
        draft.status.pop(field, None)
    draft.status["startTime"] = timestamp(draft.now)
    draft.status.setdefault("restarts", 0)
    draft.tell(reason, message)
    draft.explain(c.WAITING, f"{seen.spec.kind}Cluster {name} is being created")
    draft.summarise("progressing", c.WAITING, draft.status["message"])


def stop(draft: Draft, phase: c.SharedPhase, reason: str, message: str) -> None:
    """Write that nothing of the cluster is to exist for now. Deletions follow in the passes after that."""
    is_news = draft.status.get("phase") != phase
    draft.phase(phase)
    for field in _OF_CLUSTER:
        draft.status.pop(field, None)
    if phase != "Rebuilding":
        draft.status.pop("lostTime", None)
        draft.status.pop("quickLosses", None)
    if is_news:
        draft.tell(reason, message)
    draft.explain(reason, message)
    draft.condition(c.CLUSTER_READY, False, reason, message)
    draft.forget(c.SCALING, c.UP_TO_DATE)
    # A cluster that is off on purpose is what its spec describes.
    draft.summarise("ready" if phase in c.DORMANT_PHASES else "progressing", reason, message)


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
        draft.tell(c.CLUSTER_LOST, message, warning=True)
        draft.explain(c.CLUSTER_LOST, message)
        draft.condition(c.CLUSTER_READY, False, c.CLUSTER_LOST, message)
        draft.summarise("progressing", c.CLUSTER_LOST, message)
        return
    message = f"{loss.message}; another cluster follows when nothing is left of this one"
    draft.tell(c.CLUSTER_LOST, message, warning=True)
    stop(draft, "Rebuilding", c.CLUSTER_LOST, message)


def record(seen: SharedObserved, draft: Draft, backend: Backend, parts: list[WorkerPart], settings: Settings) -> None:
    """Write down what is there."""
    base, key = seen.base, seen.base.key
    draft.status.setdefault("startTime", timestamp(draft.now))  # another client removed it
    if base.cluster is None or "deletionTimestamp" in base.cluster["metadata"]:
        return
    name = base.cluster["metadata"]["name"]
    draft.status["name"] = name
    leader = ready_leader(base)
    if leader is not None:
        # The address is given out only now: a name that is looked up too early stays unknown for a while.
        draft.status["address"] = backend.address(name, key.namespace, settings, backend.keys(base.cluster))
        draft.status["dashboard"] = backend.dashboard(name, key.namespace, settings)
        identity = {"pod": leader.name, "uid": leader.uid, "restarts": leader.restarts}
        draft.status.setdefault("scheduler", identity)
    counts = [_counts(part, backend) for part in parts]
    draft.status["workers"] = counts
    ready, target = (sum(count[field] for count in counts) for field in ("ready", "target"))
    draft.status["display"] = {"workers": f"{ready}/{target}"}


def _counts(part: WorkerPart, backend: Backend) -> Object:
    return {
        "name": part.name or DEFAULT,
        "minimum": part.scale.minimum,
        "maximum": part.scale.maximum,
        "target": part.requested if backend.scales_itself else part.scale.target,
        "requested": part.requested,
        "ready": part.ready,
    }


def judge(draft: Draft, verdict: Readiness, why: Cause | None, upgrade: Upgrade | None, scaling: Verdict) -> bool:
    """Set conditions and phase; return whether the cluster is usable and nothing is left to wait for."""
    _follow(draft, verdict)
    draft.condition(c.CLUSTER_READY, verdict.ready, verdict.reason, verdict.message)
    draft.condition(c.SCALING, *scaling)
    if upgrade is None:
        draft.condition(c.UP_TO_DATE, True, c.CURRENT, "the cluster was built from the spec as it is now")
    else:
        if is_true(draft.status, c.UP_TO_DATE):
            draft.tell(upgrade.reason, upgrade.message)
        draft.condition(c.UP_TO_DATE, False, upgrade.reason, upgrade.message)
    is_usable = draft.status["phase"] == "Ready"
    if why is not None:
        draft.tell(why.reason, why.message, warning=True, part=why.part)
        draft.explain(why.reason, why.message)
    elif not verdict.ready:
        draft.explain(c.WAITING, verdict.message)
    elif upgrade is not None:
        draft.explain(upgrade.reason, upgrade.message)
    else:
        draft.explain(c.CLUSTER_USABLE, "the cluster can take work")
    draft.summarise("ready" if is_usable else "progressing", draft.status["reason"], draft.status["message"])
    return is_usable and verdict.ready


def _follow(draft: Draft, verdict: Readiness) -> None:
    """Move the phase with the readiness. A worker that is missing does not undo a start; a lost scheduler does."""
    phase = draft.status.get("phase")
    if verdict.ready:
        if phase == "Rebuilding":
            draft.tell(c.REBUILT, f"another scheduler has taken the place of the lost one: {verdict.message}")
        elif phase != "Ready":
            draft.tell(c.CLUSTER_USABLE, verdict.message)
        draft.status.pop("lostTime", None)
        draft.stamp("readyTime")
        draft.phase("Ready")
    elif phase not in ("Ready", "Rebuilding"):
        draft.phase("Starting")
