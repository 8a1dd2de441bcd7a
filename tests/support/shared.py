"""Shared clusters as the API server and a pass have them, made short: each maker has the usual case as default."""

from __future__ import annotations

import dataclasses
from typing import Any

from flowcluster_api import keeper as keepers
from flowcluster_api import names
from flowcluster_api.lease import Demand
from flowcluster_api.progress import Progress
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.desired.keeper_deployment import keeper_access, keeper_deployment
from flowcluster_operator.desired.metadata import controlled_by, lease_reference
from flowcluster_operator.desired.network_policy import shared_network_policy
from flowcluster_operator.desired.root_lease import root_lease as desired_lease
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.plan import Create, Plan
from flowcluster_operator.model.shared import GroupFacts, SharedInvalid, SharedObserved, SharedRemains, User
from flowcluster_operator.pod_status import pod_facts
from flowcluster_operator.policies.shared.keeper_instructions import update_instructions
from flowcluster_operator.policies.shared.worker_groups import worker_groups
from flowcluster_operator.reconcile.decide_shared import decide_shared
from flowcluster_operator.reconcile.missing_shared_children import cluster_objects
from flowcluster_operator.resources import LAST_HANDLED
from flowcluster_operator.settings import Settings
from flowcluster_operator.shared_specs import parse, view
from tests.support.makers import NOW, SETTINGS, ago, remains, stored

Body = dict[str, Any]
KEY = RunId("platform", "analytics", "0c7f6a52-0000-4000-8000-00000000000a", names.SHARED_KIND)
NAME = names.child_name(KEY.name, KEY.uid)
SECRET = f"{NAME}-x7k2p"
USER = User("uid-run", "report", "team")
#: A spec with a further worker group.
GROUPS: Body = {"workerGroups": [{"name": "gpu", "minimum": 1, "maximum": 2, "taskResources": {"GPU": 1}}]}


def spec(kind: str = "Dask", **more: Any) -> Body:
    """A spec with one to three workers."""
    return {"kind": kind, "workers": {"minimum": 1, "maximum": 3}, **more}


def shared(body: Body | None = None, status: Body | None = None, **metadata: Any) -> Body:
    """A SharedCluster."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.SHARED_KIND,
        "metadata": {
            "name": KEY.name, "namespace": KEY.namespace, "uid": KEY.uid, "generation": 1, "resourceVersion": "1",
            "creationTimestamp": ago(60), **metadata,
        },
        "spec": spec() if body is None else body,
        **({"status": status} if status is not None else {}),
    }  # fmt: skip


def lease(holder: str | None = "keeper-1", **annotations: str) -> Body:
    """The root Lease of the cluster."""
    body = stored({**desired_lease(KEY), "spec": {"holderIdentity": holder} if holder else {}})
    return {**body, "metadata": {**body["metadata"], "annotations": annotations}}


def of_lease(obj: Body) -> Body:
    """An object that the cluster's Lease controls."""
    return controlled_by(obj, lease_reference(lease()))


def pod(component: str, *, group: str = "", state: Body | None = None, **more: Any) -> Body:
    """A pod of the cluster: running and Ready, or in the container state given."""
    state = state if state is not None else {"running": {}}
    uid = more.get("uid", f"pod-{component}{group}")
    labels = names.child_labels(KEY.name, KEY.uid, component, KEY.kind)
    metadata: Body = {
        "name": more.get("name", f"{component}-{uid}"), "uid": uid, "creationTimestamp": ago(more.get("age", 20)),
        "labels": labels | ({names.LABEL_WORKER_GROUP: group} if group else {}),
    }  # fmt: skip
    if more.get("deleted"):
        metadata["deletionTimestamp"] = ago(1)
    ready = {"type": "Ready", "status": str("running" in state)}
    status = {"name": component, "state": state, "restartCount": more.get("restarts", 0)}
    return {
        "metadata": metadata,
        "status": {
            "phase": "Running",
            "conditions": [{"type": "PodScheduled", "status": "True"}, ready],
            "containerStatuses": [status],
        },
    }


def deployment(component: str = "scheduler", *, group: str = "", number: int = 0) -> Body:
    """A Deployment that dask-kubernetes made."""
    name = f"{group or component}-w{number}" if number else component
    labels = names.child_labels(KEY.name, KEY.uid, component, KEY.kind)
    meta = {
        "name": name,
        "namespace": KEY.namespace,
        "labels": labels | ({names.LABEL_WORKER_GROUP: group} if group else {}),
    }
    return stored({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "status": {}}, uid=f"uid-{name}")


def bare(body: Body | None = None, status: Body | None = None, **base: Any) -> SharedObserved:
    """What a pass sees of a cluster of which nothing exists.

    Args:
        body: its spec.
        status: as it was written last.
        base: fields of `Observed` and of `SharedObserved`; `run` is the SharedCluster, and `pods` are raw objects.
    """
    own = {name: base.pop(name) for name in ("users", "keeper", "groups", "requests") if name in base}
    made = base.pop("run", None) or shared(body, status)
    parsed, invalid = parse(made)
    assert parsed is not None, invalid
    pods = tuple(pod_facts(item) for item in base.pop("pods", ()))
    seen = Observed(
        key=KEY, run=made, spec=view(parsed), pods=pods,
        **{"written": made.get("status") or {}, **base},
    )  # fmt: skip
    own.setdefault("groups", tuple(GroupFacts(group) for group in parsed.worker_groups))
    return SharedObserved(seen, parsed, **own)


def objects(body: Body | None = None, settings: Settings = SETTINGS) -> tuple[Body, list[Body]]:
    """The cluster resource of a spec, and its DaskWorkerGroups, after the upstream operator has handled them."""
    seen = bare(body)
    backend = BACKENDS[seen.spec.kind]
    made, groups = cluster_objects(seen, settings, backend, worker_groups(seen, backend, settings), SECRET)
    mark: Body = {"annotations": {LAST_HANDLED: "{}"}} if seen.spec.kind == "Dask" else {}
    return stored(of_lease(made), **mark), [
        stored(of_lease(group), uid=f"uid-{group['metadata']['name']}", **mark) for group in groups
    ]


def serving(body: Body | None = None, built: Body | None = None, **more: Any) -> SharedObserved:
    """A cluster that is Ready with its minimum of workers, and whose keeper reports no demand.

    Args:
        body: its spec.
        built: the spec that it was built from, if another one.
        more: fields of `Observed` and of `SharedObserved`.
    """
    seen = bare(body)
    made, groups = objects(built or body)
    kind = seen.spec.kind
    leader = names.HEAD_COMPONENTS[kind]
    status: Body = {
        "phase": "Ready", "kind": kind, "name": NAME, "startTime": ago(400), "readyTime": ago(390), "restarts": 0,
        "scheduler": {"pod": f"{leader}-pod-{leader}", "uid": f"pod-{leader}", "restarts": 0},
    }  # fmt: skip
    by_name = {group["metadata"]["labels"][names.LABEL_WORKER_GROUP]: group for group in groups}
    facts = [GroupFacts(item.group, by_name.get(item.group.name)) for item in seen.groups]
    is_dask = kind == "Dask"
    workers = [deployment("worker", number=1), *(deployment("worker", group=name, number=1) for name in by_name)]
    fields: Body = {
        "status": status,
        "cluster": made,
        "groups": tuple(facts),
        "deployments": (deployment(), *workers) if is_dask else (),
        "pods": [pod(leader), pod("worker"), *(pod("worker", group=item.group.name) for item in facts)],
        "lease": lease(),
        "credentials": SECRET,
        "access": tuple(stored(of_lease(create.body)) for create in keeper_access(KEY)),
        "network_policies": (stored(of_lease(shared_network_policy(KEY, seen.spec.allowed_namespaces))),),
        "driver": DriverHeartbeat("keeper-1", None, 1.0, 0.0),
    }
    fields["keeper"] = stored(of_lease(keeper_deployment(KEY, seen.base.spec, SETTINGS, SECRET, "address")))
    return informed(bare(body, **{**fields, **more}))


def informed(seen: SharedObserved) -> SharedObserved:
    """The cluster with a keeper that has its instructions already."""
    backend = BACKENDS[seen.spec.kind]
    amend = update_instructions(seen, worker_groups(seen, backend, SETTINGS))
    if amend is None or seen.base.lease is None:
        return seen
    assert isinstance(amend.patch, dict)
    text = amend.patch["metadata"]["annotations"][keepers.ANNOTATION_INSTRUCTIONS]
    meta = seen.base.lease["metadata"]
    informed_lease = {**seen.base.lease, "metadata": {**meta, "annotations": {keepers.ANNOTATION_INSTRUCTIONS: text}}}
    return dataclasses.replace(seen, base=dataclasses.replace(seen.base, lease=informed_lease))


def gone(seen: SharedObserved, run: Body | None = None) -> SharedRemains:
    """The cluster once its SharedCluster is deleted: `run` while it has finalizers."""
    return SharedRemains(remains(seen.base, run))


def plan_for(seen: SharedObserved | SharedInvalid | SharedRemains, settings: Settings = SETTINGS) -> Plan:
    """What is decided on `seen`."""
    return decide_shared(seen, settings, NOW)


def status_after(seen: SharedObserved, settings: Settings = SETTINGS) -> Body:
    """The status after the plan for `seen`."""
    status = plan_for(seen, settings).status
    assert status is not None
    return status


def created(plan: Plan) -> list[str]:
    """The kinds of the objects that a plan creates, in its order."""
    return [action.resource.kind for action in plan.actions if isinstance(action, Create)]


def idle(seconds: int = 10_000, confirmed: float = 10.0, silent_for: float = 1.0) -> DriverHeartbeat:
    """A keeper that reports that nothing has run for that long."""
    return DriverHeartbeat("keeper-1", None, silent_for, 0.0, Demand(0), Progress(None, seconds), confirmed)


def with_status(seen: SharedObserved, status: Body) -> SharedObserved:
    """The cluster after its status was written."""
    run = {**seen.base.run, "status": status}
    return dataclasses.replace(seen, base=dataclasses.replace(seen.base, run=run, written=status))
