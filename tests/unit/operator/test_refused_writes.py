"""Statuses that the chaos trials take for alike: a write that is refused with either has the same outcome."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from flowcluster_operator.errors import ApiError, ApiUnavailable, Conflict, NotFound
from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model.plan import Action, Create, Delete, Emit, Plan, SetWorkers
from flowcluster_operator.reconcile.apply import apply
from flowcluster_operator.resources import (
    CONFIG_MAP,
    DASK_CLUSTER,
    DASK_WORKER_GROUP,
    DEPLOYMENT,
    EVENT,
    FLOW_RUN,
    JOB,
    LEASE,
    NETWORK_POLICY,
    RAY_CLUSTER,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE_ACCOUNT,
    Object,
    Resource,
)
from tests.support.chaos.classes import Call, handling
from tests.support.fake_api import Answer, FakeApi
from tests.support.makers import KEY, NOW, lease, of_lease, run
from tests.support.rig.faults import REASONS, refusal

NAME = "child"
CREATED = (
    LEASE, SERVICE_ACCOUNT, SECRET, CONFIG_MAP, NETWORK_POLICY, DASK_CLUSTER, RAY_CLUSTER, JOB, ROLE, ROLE_BINDING,
    DEPLOYMENT, DASK_WORKER_GROUP,
)  # fmt: skip
DELETED = ((LEASE, False), (JOB, False), (DEPLOYMENT, False), (SERVICE_ACCOUNT, True), (NETWORK_POLICY, True))
PATCHED = ((DASK_CLUSTER, {"spec": {"size": 7}}), (RAY_CLUSTER, [{"op": "add", "path": "/spec/size", "value": 7}]))


class Written(NamedTuple):
    """A write, and what is written."""

    method: str
    resource: Resource
    detail: Any = None

    @property
    def target(self) -> str:
        """As `target_of` names it."""
        if self.method == "PUT":
            return "PUT-status-Starting"
        return f"{self.method}-{self.resource.plural}{'-Created' if self.resource is EVENT else ''}"


WRITES = [
    *(Written("POST", resource) for resource in CREATED),
    *(Written("DELETE", resource, background) for resource, background in DELETED),
    *(Written("PATCH", resource, patch) for resource, patch in PATCHED),
    Written("PUT", FLOW_RUN),
    Written("POST", EVENT),
]


def body(resource: Resource) -> Object:
    return of_lease({"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": NAME}})


def plan(written: Written, uid: str) -> Plan:
    """Return the plan that makes a write, to an object of this UID where there is one already."""
    method, resource, detail = written
    if method == "PUT":
        return Plan(status={"phase": "Starting"})
    if resource is EVENT:
        return Plan(events=(Emit("Normal", "Created", "created Job greetings"),))
    action: Action
    if method == "POST":
        action = Create(resource, body(resource))
    elif method == "DELETE":
        action = Delete(resource, NAME, uid, background=detail)
    else:
        action = SetWorkers(resource, NAME, uid, detail)
    return Plan(actions=(action,))


async def outcome(written: Written, status: int, api: FakeApi, kube: Kube, owner: Object, there: Object | None) -> Any:
    """Return what comes of a write that is refused: the requests, the error or the rejection, and what is known."""
    store = Store()
    store.put(FLOW_RUN, owner)
    if there is not None:
        store.put(written.resource, there)
    refused = refusal(status, written.method, written.resource.path(KEY.namespace))
    api.inject(Answer(status, body=json.dumps(refused)), written.method, written.resource)
    before, error = len(api.requests), ""
    rejections = []
    try:
        planned = plan(written, there["metadata"]["uid"] if there else "")
        rejections = await apply(planned, KEY, owner, store, Memory(), kube, NOW)
    except (Conflict, NotFound):
        error = "another pass follows soon"  # `loop.Reconciler._pass`
    except (ApiError, ApiUnavailable) as raised:
        error = type(raised).__name__
    requests = [str(request) for request in api.requests[before:]]
    known = store.owner(KEY) is not None, len(store.children(KEY, written.resource))
    return requests, error, [(one.kind, one.name) for one in rejections], known


@pytest.mark.parametrize("written", WRITES, ids=lambda written: str(written.target))
async def test_write_has_one_outcome_when_statuses_are_handled_alike(
    written: Written, api: FakeApi, kube: Kube
) -> None:
    owner = api.objects.create(FLOW_RUN, KEY.namespace, run())
    api.objects.create(LEASE, KEY.namespace, lease())
    is_changed = written.method in ("DELETE", "PATCH")
    there = api.objects.create(written.resource, KEY.namespace, body(written.resource)) if is_changed else None
    call = Call("Dask", FLOW_RUN.kind, "Starting", written.target, "", 1, 1)

    outcomes: dict[str, list[Any]] = {}
    for status in REASONS:
        found = await outcome(written, status, api, kube, owner, there)
        outcomes.setdefault(handling(call, status), []).append(found)

    assert all(found == alike[0] for alike in outcomes.values() for found in alike), outcomes
    assert sum(map(len, outcomes.values())) == len(REASONS)
