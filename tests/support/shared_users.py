"""Runs on a shared cluster of the fake API server: what is made of them, and how they end or lose it."""

from __future__ import annotations

from flowcluster_api import keeper as keepers
from flowcluster_api import names
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import (
    BY_KIND,
    FLOW_RUN,
    JOB,
    LEASE,
    POD,
    SHARED_CLUSTER,
    Object,
)
from tests.support.makers import outcome
from tests.support.shared import KEY, NAME
from tests.support.shared_world import World


def job(world: World, key: RunId) -> Object:
    """The Job of a run."""
    name = names.child_name(key.name, key.uid)
    return next(obj for obj in world.api.objects.all(JOB) if obj["metadata"]["name"] == name)


def instructed(world: World) -> list[str]:
    """UIDs of the runs in the keeper's instructions."""
    uids = {
        keepers.digest_of(run["metadata"]["uid"]): run["metadata"]["uid"] for run in world.api.objects.all(FLOW_RUN)
    }
    return [uids[run.digest] for run in users(world)]


def users(world: World) -> tuple[keepers.LiveRun, ...]:
    """The runs in the keeper's instructions."""
    found = keepers.read(world.api.objects.get(LEASE, KEY.namespace, NAME))
    assert found is not None
    return found.runs


def end(world: World, key: RunId, code: int = 0) -> None:
    """Let the driver of a run end."""
    (pod,) = [
        pod
        for pod in world.api.objects.select(POD, key.namespace, f"{names.LABEL_RUN_UID}={key.uid}")
        if pod["metadata"]["labels"][names.LABEL_COMPONENT] == names.COMPONENT_DRIVER
    ]
    text = outcome() if code == 0 else outcome("Failed", "FlowFailed", "no", code)
    state = {"terminated": {"exitCode": code, "reason": "x", "message": text}}
    status = {**pod["status"], "phase": "Succeeded" if code == 0 else "Failed"}
    status["containerStatuses"] = [{**status["containerStatuses"][0], "state": state}]
    world.api.objects.merge(POD, key.namespace, pod["metadata"]["name"], {"status": status})
    kind = "Complete" if code == 0 else "Failed"
    name = names.child_name(key.name, key.uid)
    conditions = [{"type": kind, "status": "True"}]
    world.api.objects.merge(JOB, key.namespace, name, {"status": {"conditions": conditions}})


def lose(world: World, kind: str, how: str) -> None:
    """Take the cluster from the runs on it."""
    if how == "suspended":
        world.edit({"suspend": True})
    elif how == "upgraded":
        world.edit({"image": "analytics:2"})
    elif how == "deleted":
        world.api.objects.delete(SHARED_CLUSTER, KEY.namespace, KEY.name)
    elif how == "resource":
        resource = BY_KIND[f"{kind}Cluster"]
        (cluster,) = world.api.objects.all(resource)
        world.api.objects.delete(resource, KEY.namespace, cluster["metadata"]["name"])
    else:
        (leader,) = world.pods(names.HEAD_COMPONENTS[kind])
        world.upstream.replace_pod(leader)
