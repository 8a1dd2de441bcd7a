"""Objects as the API server returns them. The default of each maker is the usual case."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from flowcluster_api import names
from flowcluster_api.driver import Outcome
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.dask_cluster import dask_cluster
from flowcluster_operator.desired.driver_access import driver_access
from flowcluster_operator.desired.driver_job import driver_job
from flowcluster_operator.desired.metadata import controlled_by_lease
from flowcluster_operator.desired.root_lease import root_lease as desired_lease
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.observed import Observed, Remains
from flowcluster_operator.model.references import Parent, Reference
from flowcluster_operator.pod_status import pod_facts
from flowcluster_operator.resources import LAST_HANDLED
from flowcluster_operator.settings import Settings
from flowcluster_operator.timestamps import timestamp

NOW = dt.datetime(2026, 1, 1, 12, 0, 0, tzinfo=dt.UTC)
KEY = RunId("team", "greetings", "0c7f6a52-0000-4000-8000-000000000001")
#: The defaults, except that runs have no network policies: their tests are in test_network_policy.py.
SETTINGS = Settings(network_policies=False)
LEASE_UID = "uid-Lease"
#: The Secret with the run's credentials.
KEYS = f"{names.child_name(KEY.name, KEY.uid)}-x7k2p"
CLUSTER_UID = "uid-DaskCluster"
#: The reference by which the run's DaskCluster controls what dask-kubernetes makes.
OF_CLUSTER: dict[str, Any] = {
    "apiVersion": "kubernetes.dask.org/v1", "kind": "DaskCluster", "name": names.child_name(KEY.name, KEY.uid),
    "uid": CLUSTER_UID, "controller": True,
}  # fmt: skip
#: The same for the run's Job, and its pods.
OF_JOB: dict[str, Any] = {
    "apiVersion": "batch/v1", "kind": "Job", "name": names.child_name(KEY.name, KEY.uid), "uid": "uid-Job",
    "controller": True,
}  # fmt: skip


def ago(seconds: float) -> str:
    """A timestamp that many seconds before `NOW`."""
    return timestamp(NOW - dt.timedelta(seconds=seconds))


def spec(*, workers: int | None = 2, flow: bool = True, **more: Any) -> dict[str, Any]:
    """A spec: a flow on a Dask cluster of `workers`; None for no cluster."""
    body: dict[str, Any] = dict(more)
    if flow:
        body.setdefault("flow", {"entrypoint": "greetings.py:greetings"})
    if workers is not None:
        body.setdefault("cluster", {"kind": "Dask", "workers": {"minimum": workers, "maximum": workers}})
    return body


def run(body: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """A FlowRun."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {
            "name": KEY.name, "namespace": KEY.namespace, "uid": KEY.uid, "generation": 1, "resourceVersion": "1",
            "creationTimestamp": ago(60), **metadata,
        },
        "spec": body if body is not None else spec(),
        **({"status": status} if status is not None else {}),
    }  # fmt: skip


def stored(obj: dict[str, Any], *, age: float = 30, **metadata: Any) -> dict[str, Any]:
    """An object as it is after the API server took it in."""
    meta = {"uid": f"uid-{obj['kind']}", "resourceVersion": "5", "creationTimestamp": ago(age)}
    return {**obj, "metadata": {**obj["metadata"], **meta, **metadata}}


def of_lease(obj: dict[str, Any]) -> dict[str, Any]:
    """An object that the run's Lease controls."""
    return controlled_by_lease(obj, KEY, lease())


def cluster(body: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """The run's DaskCluster, whose parts dask-kubernetes has made."""
    parsed = FlowRunSpec.model_validate(body or spec())
    made = of_lease(dask_cluster(KEY, parsed, SETTINGS, 2, KEYS))
    return stored(made, **{"annotations": {LAST_HANDLED: "{}"}, **metadata})


def job(body: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """The run's Job."""
    made = driver_job(KEY, FlowRunSpec.model_validate(body or spec()), SETTINGS, KEYS, None)
    return stored(of_lease(made), **metadata)


def access(body: dict[str, Any] | None = None, parent: Parent | None = None) -> tuple[dict[str, Any], ...]:
    """The rights of the run's driver."""
    return tuple(
        stored(of_lease(create.body))
        for create in driver_access(KEY, FlowRunSpec.model_validate(body or spec()), parent)
    )


def lease(holder: str | None = None) -> dict[str, Any]:
    """The run's Lease."""
    return stored({**desired_lease(KEY), "spec": {"holderIdentity": holder} if holder else {}}, uid=LEASE_UID)


def deployment(component: str = "scheduler", *, number: int = 0, age: float = 30, **status: Any) -> dict[str, Any]:
    """A Deployment of the cluster: the scheduler's, or that of the worker with this number."""
    name = f"{component}-w{number}" if number else component
    meta = {
        "name": name,
        "namespace": KEY.namespace,
        "labels": names.child_labels(KEY.name, KEY.uid, component),
        "ownerReferences": [OF_CLUSTER],
    }
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "status": status}
    return stored(body, age=age, uid=f"uid-{name}")


def pod(component: str, state: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A pod: running and Ready, or in the container state given; `more` are restarts, phase, name, uid, deleted."""
    state = state if state is not None else {"running": {}}
    running = "running" in state
    metadata: dict[str, Any] = {
        "name": more.get("name", f"{component}-{more.get('uid', '1')}"),
        "uid": more.get("uid", f"pod-{component}"),
        "labels": names.child_labels(KEY.name, KEY.uid, component),
        "creationTimestamp": ago(more.get("age", 20)),
    }
    if more.get("deleted"):
        metadata["deletionTimestamp"] = ago(1)
    return {
        "metadata": metadata,
        "status": {
            "phase": more.get("phase", "Running"),
            "conditions": [
                {"type": "PodScheduled", **more.get("scheduled", {"status": "True"})},
                {"type": "Ready", "status": str(running)},
            ],
            "containerStatuses": [{"name": component, "state": state, "restartCount": more.get("restarts", 0)}],
        },
    }


def ended(exit_code: int, text: str = "", reason: str = "Error") -> dict[str, Any]:
    """The state of a container that ended."""
    return {"terminated": {"exitCode": exit_code, "reason": reason, "message": text}}


def outcome(state: Any = "Completed", reason: str = "FlowCompleted", message: str = "done", code: int = 0) -> str:
    """A driver's termination message."""
    return Outcome(state=state, reason=reason, message=message, exit_code=code).to_json()


def observed(body: dict[str, Any] | None = None, **more: Any) -> Observed:
    """What a pass sees: the FlowRun and its children, nothing of the cluster wrong; `pods` as raw objects.

    `referenced` is the cluster that spec.cluster.ref names, with the pods `leaders` and a Service unless `has_service`
    is False.
    """
    status = more.pop("status", {"phase": "Starting", "startTime": ago(10)})
    flow_run = more.pop("run", None) or run(body, status)
    pods = tuple(pod_facts(item) for item in more.pop("pods", ()))
    if (referenced := more.pop("referenced", None)) is not None:
        leaders = tuple(pod_facts(item) for item in more.pop("leaders", ()))
        more["reference"] = Reference(referenced, leaders, more.pop("has_service", True))
    parsed = FlowRunSpec.model_validate(flow_run["spec"])
    return Observed(key=KEY, run=flow_run, spec=parsed, pods=pods, **more)


def remains(seen: Observed, run: dict[str, Any] | None = None) -> Remains:
    """What a pass sees of a run once its FlowRun is deleted: `run` while it has finalizers."""
    fields = {field.name: getattr(seen, field.name) for field in dataclasses.fields(Remains)}
    return Remains(**{**fields, "run": run})
