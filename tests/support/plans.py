"""The operator's plans, and parts of them, for tests."""

from __future__ import annotations

from typing import Any

from flowcluster_operator.model.observed import Observed, Remains
from flowcluster_operator.model.plan import Create, Plan
from flowcluster_operator.reconcile.decide import decide
from tests.support.makers import (
    KEYS,
    NOW,
    SETTINGS,
    access,
    ago,
    cluster,
    deployment,
    job,
    lease,
    pod,
)  # fmt: skip


def plan_for(seen: Observed | Remains) -> Plan:
    """Return the plan for `seen`."""
    return decide(seen, SETTINGS, NOW)


def settled(seen: Observed) -> dict[str, Any]:
    """Return the status after the plan for `seen`."""
    status = plan_for(seen).status
    assert status is not None
    return status


def kinds(plan: Plan) -> list[str]:
    """Return the kinds of the created objects."""
    return [action.resource.kind for action in plan.actions if isinstance(action, Create)]


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the condition of this type."""
    return next(item for item in status["conditions"] if item["type"] == kind)


def started(**more: Any) -> dict[str, Any]:
    """Return the status of a run that was started `age` seconds ago."""
    return {"phase": "Starting", "startTime": ago(more.pop("age", 10)), **more}


def secret_of(pod: dict[str, Any]) -> str:
    """Return the Secret that all of a pod's containers mount at the same path."""
    (secret,) = (volume for volume in pod["volumes"] if "secret" in volume)
    for container in pod["containers"]:
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        environment = {item["name"]: item["value"] for item in container["env"] if "value" in item}
        assert environment["FLOWCLUSTER_KEYS"] == mounts[secret["name"]]
    return str(secret["secret"]["secretName"])


READY_PODS = [pod("scheduler"), pod("worker", uid="w1"), pod("worker", uid="w2")]
ACCESS_KINDS = ["Role", "RoleBinding", "ServiceAccount"]
RIGHTS: dict[str, Any] = {"lease": lease(), "access": access(), "credentials": KEYS}
CHILDREN: dict[str, Any] = {"cluster": cluster(), "job": job(), "deployments": (deployment(),), **RIGHTS}
FINISHED = {
    "phase": "Stopping",
    "finishTime": ago(3),
    "conditions": [{"type": "Finished", "status": "True", "reason": "Succeeded", "message": "done"}],
}
