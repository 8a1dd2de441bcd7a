"""The actions of processes in pods: no container runs on the rig's nodes, so the rig plays drivers and autoscalers."""

from __future__ import annotations

import datetime as dt

from flowcluster_api.driver import Outcome
from tests.support.rig.client import JSON_PATCH, Body, Client
from tests.support.rig.kinds import POD, RAY_CLUSTER
from tests.support.rig.ledger import Entry


def is_ready(pod: Entry) -> bool:
    """Whether a pod runs and is Ready."""
    status = pod.body.get("status") or {}
    conditions = {item["type"]: item["status"] for item in status.get("conditions") or []}
    return status.get("phase") == "Running" and conditions.get("Ready") == "True"


def now() -> str:
    """Return the time as Kubernetes writes it with microseconds."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def end_pod(client: Client, pod: Entry, outcome: Outcome) -> None:
    """Report a driver's pod as ended, with its outcome as the termination message."""
    moment = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    terminated = {
        "exitCode": outcome.exit_code,
        "reason": "Completed" if outcome.exit_code == 0 else "Error",
        "message": outcome.to_json(),
        "startedAt": moment,
        "finishedAt": moment,
    }
    containers = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": terminated},
        }
        for container in pod.body["spec"]["containers"]
    ]
    known = [item for item in pod.body["status"]["conditions"] if item["type"] not in ("Ready", "ContainersReady")]
    ended = [
        {"type": name, "status": "False", "lastTransitionTime": moment, "reason": "PodCompleted"}
        for name in ("Ready", "ContainersReady")
    ]
    status: Body = {
        "phase": "Succeeded" if outcome.exit_code == 0 else "Failed",
        "containerStatuses": containers,
        "conditions": [*known, *ended],
    }
    client.patch(POD.path(pod.meta["namespace"], pod.name, "status"), {"status": status})


def end_container(client: Client, pod: Entry, name: str, outcome: Outcome) -> None:
    """Report one container of a pod as ended, with an outcome as its termination message; the others run on."""
    moment = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    terminated = {
        "exitCode": outcome.exit_code, "reason": "Error", "message": outcome.to_json(), "startedAt": moment,
        "finishedAt": moment,
    }  # fmt: skip
    known = pod.body["status"]
    containers = [
        {**item, "ready": False, "started": False, "state": {"terminated": terminated}}
        if item["name"] == name
        else item
        for item in known["containerStatuses"]
    ]
    conditions = [
        {**item, "status": "False", "lastTransitionTime": moment}
        if item["type"] in ("Ready", "ContainersReady")
        else item
        for item in known["conditions"]
    ]
    status: Body = {"containerStatuses": containers, "conditions": conditions}
    client.patch(POD.path(pod.meta["namespace"], pod.name, "status"), {"status": status})


def autoscale(client: Client, cluster: Entry, workers: list[Entry], replicas: int) -> None:
    """Set the number of a RayCluster's workers as Ray's autoscaler does: it names those to delete."""
    path = RAY_CLUSTER.path(cluster.meta["namespace"], cluster.name)
    group, surplus = "/spec/workerGroupSpecs/0", [pod.name for pod in workers][replicas:]
    steps: list[Body] = [
        {"op": "replace", "path": f"{group}/replicas", "value": replicas},
        {"op": "add", "path": f"{group}/scaleStrategy", "value": {"workersToDelete": surplus}},
    ]
    client.request("PATCH", path, steps, JSON_PATCH)
