"""Apply a plan: write the children, then the status, then Events. Each answer goes into the store immediately."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging

from flowcluster_api import names
from flowcluster_operator.desired.metadata import is_controlled_alike
from flowcluster_operator.errors import ApiError, ApiUnavailable, Conflict, NotFound, Refused
from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model.failures import Rejection
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.plan import Action, Create, Delete, DropFinalizers, Emit, PatchObject, Plan, SetWorkers
from flowcluster_operator.new_credentials import new_credentials
from flowcluster_operator.reconcile.write_status import write_status
from flowcluster_operator.resources import (
    CONFIG_MAP,
    DASK_WORKER_GROUP,
    EVENT,
    ROLE_BINDING,
    SECRET,
    Object,
    Resource,
)  # fmt: skip
from flowcluster_operator.timestamps import timestamp

_logger = logging.getLogger(__name__)


async def apply(
    plan: Plan, key: RunId, owner: Object | None, store: Store, memory: Memory, kube: Kube, now: dt.datetime
) -> list[Rejection]:
    """Apply a plan: all actions concurrently, then the status, then the Events.

    All writes have ended when it returns. It writes the status even if an action failed, because the status has what
    was observed.

    Args:
        plan: what to do.
        key: the run or shared cluster.
        owner: its FlowRun or SharedCluster, as it was observed; None when that does not exist any more.
        store: gets the API server's answers.
        memory: of the operator.
        kube: the client.
        now: the time of the pass.

    Returns:
        The children that the API server refused to create.

    Raises:
        Conflict: the FlowRun or SharedCluster changed since it was observed.
        NotFound: the API server does not know an earlier write yet, or the FlowRun or SharedCluster is gone.
        ApiUnavailable, Refused: an action failed; where several did, the error of the first one in the plan.
    """
    outcomes = await asyncio.gather(
        *(_act(action, key, store, memory, kube) for action in plan.actions), return_exceptions=True
    )
    clock = asyncio.get_running_loop().time
    if plan.status is not None and owner is not None:
        await write_status(key, owner, plan.status, store, kube)
        memory.pending_statuses.record_write(key, clock())
    for event in plan.events:
        if memory.event_rate.admits(key, event, clock()):
            await _emit(event, key, kube, now)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if isinstance(outcome, Rejection)]


async def _act(action: Action, key: RunId, store: Store, memory: Memory, kube: Kube) -> Rejection | None:
    if isinstance(action, Create) and action.resource in (SECRET, CONFIG_MAP):
        return await _create_of_lease(action, key, memory, kube)
    if isinstance(action, Create):
        return await _create(action, key, store, kube)
    now = asyncio.get_running_loop().time()
    if (
        isinstance(action, SetWorkers)
        and action.is_retry
        and not memory.worker_requests.claim(key, now, _group(action, key, store))
    ):
        return None  # the plan has a requeue time
    try:
        answer = await _change(action, key, kube)
    except (Conflict, NotFound):
        # A proxy in front of the API server can answer 404, too. So read the object before the store forgets it: the
        # operator would never delete a forgotten object.
        if await _exists(action, key, store, kube):
            raise
        return None  # the object is gone; another one may have its name
    if isinstance(action, Delete) and action.background:  # the answer may be the object as it was before the delete
        store.remove(action.resource, action.uid, is_gone=not (answer.get("metadata") or {}).get("finalizers"))
    elif answer.get("kind") == action.resource.kind:
        store.put(action.resource, answer)
    return None


def _group(action: SetWorkers, key: RunId, store: Store) -> str:
    """Return the further worker group whose workers an action requests; empty for the cluster's own workers."""
    if action.resource is not DASK_WORKER_GROUP or (found := store.child(key, action.uid)) is None:
        return ""
    return str((found["metadata"].get("labels") or {}).get(names.LABEL_WORKER_GROUP, ""))


async def _change(action: Delete | PatchObject | DropFinalizers, key: RunId, kube: Kube) -> Object:
    where = (action.resource, key.namespace, action.name, action.uid)
    if isinstance(action, Delete):
        return await kube.delete(*where, background=action.background, forced=action.forced)
    if isinstance(action, PatchObject):
        return await kube.patch(*where, action.patch)
    left = {"finalizers": list(action.left), "resourceVersion": action.version}
    return await kube.patch(*where, {"metadata": left})


async def _exists(action: Delete | PatchObject | DropFinalizers, key: RunId, store: Store, kube: Kube) -> bool:
    """Read an object into the store whose state was not as expected; return whether it exists."""
    found: list[Object] = []
    version = 0
    try:
        listed = await kube.list(action.resource, key.namespace, fields=f"metadata.name={action.name}")
        found, version = listed["items"], int(listed["metadata"]["resourceVersion"])
    except NotFound:
        pass  # the kind is not installed any more
    for item in found:
        if item["metadata"]["uid"] == action.uid:
            item.setdefault("apiVersion", action.resource.api_version)
            store.put(action.resource, item)
            return True
    store.remove(action.resource, action.uid, version, is_gone=not found)
    return False


async def _create(action: Create, key: RunId, store: Store, kube: Kube) -> Rejection | None:
    resource, body = action.resource, action.body
    name = body["metadata"]["name"]
    try:
        store.put(resource, await kube.create(resource, key.namespace, body))
    except Conflict as conflict:
        if (found := await _find(resource, name, key, kube)) is None:
            raise  # the object was deleted in between, or the conflict has another cause, such as a quota
        return _adopt(action, found, key, store, conflict)
    except (Refused, NotFound) as error:
        if resource is ROLE_BINDING and isinstance(error, NotFound):
            raise  # the API server does not know the new Role yet
        return Rejection(resource.kind, name, error.status, str(error))
    return None


async def _create_of_lease(action: Create, key: RunId, memory: Memory, kube: Kube) -> Rejection | None:
    """Create the Secret or the ConfigMap of a run, which its Lease owns, and keep the name in memory.

    The operator has no right to read either. If an earlier pass was interrupted before the answer, the object that it
    created stays unused until it is deleted with the Lease.
    """
    resource, body = action.resource, action.body
    name, known = names.child_name(key.name, key.uid), memory.parameters
    try:
        if resource is SECRET:
            data = await _credentials(action, key, name, memory)
            if data is None:
                return None  # the exchange was forgotten since the decision: the next pass begins another one
            body, known = {**body, "data": data}, memory.credentials
        made = await kube.create(resource, key.namespace, body)
    except (Refused, NotFound) as error:
        return Rejection(resource.kind, name, error.status, str(error))
    (owner,) = body["metadata"]["ownerReferences"]
    known[key] = owner["uid"], made["metadata"]["name"]
    if action.is_exchanged:
        memory.credential_exchanges.finish(key)
    return None


async def _credentials(action: Create, key: RunId, name: str, memory: Memory) -> dict[str, str] | None:
    """Return the data of a Secret: new credentials, or those of a SharedCluster of another namespace."""
    if not action.is_exchanged:
        return await asyncio.to_thread(new_credentials, name)
    found = memory.credential_exchanges.of(key)
    return found.data if found is not None else None


async def _find(resource: Resource, name: str, key: RunId, kube: Kube) -> Object | None:
    try:
        return await kube.get(resource, key.namespace, name)
    except NotFound:
        return None


def _adopt(action: Create, found: Object, key: RunId, store: Store, conflict: Conflict) -> Rejection | None:
    """Store an object of that name if it has the controller of the object to create; return a rejection otherwise.

    In the first case, an earlier pass created the object and was interrupted before the answer.
    """
    if is_controlled_alike(found, action.body):
        store.put(action.resource, found)
        return None
    kind, name = action.resource.kind, found["metadata"]["name"]
    noun = "run" if key.kind == names.KIND else "shared cluster"
    message = f"a {kind} of this name exists, and the {noun} does not own it"
    return Rejection(kind, name, conflict.status, message)


async def _emit(event: Emit, key: RunId, kube: Kube, now: dt.datetime) -> None:
    stamp = timestamp(now)
    body: Object = {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"generateName": f"{key.name}.", "namespace": key.namespace},
        "type": event.type,
        "reason": event.reason,
        "message": event.message,
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": key.kind,
            "name": key.name,
            "namespace": key.namespace,
            "uid": key.uid,
        },
        "source": {"component": "flowcluster"},
        "reportingComponent": "flowcluster",
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
    try:
        await kube.create(EVENT, key.namespace, body)
    except (ApiError, ApiUnavailable) as error:
        # The story in status has the same text, so the operator does not repeat the pass for an Event.
        _logger.warning("%s/%s: Event %s was not written: %s", key.namespace, key.name, event.reason, error)
