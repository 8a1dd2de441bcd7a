"""Carry a plan out: children, then the status, then events. Each answer goes into the store at once."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging

from flowcluster_api import names
from flowcluster_operator.desired.metadata import owned_by
from flowcluster_operator.errors import ApiError, ApiUnavailable, Conflict, NotFound, Refused
from flowcluster_operator.facts import timestamp
from flowcluster_operator.keys import new_keys
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model import Action, Create, Delete, Emit, Key, Observed, Plan, Rejection, SetWorkers
from flowcluster_operator.resources import CONFIG_MAP, EVENT, FLOW_RUN, ROLE_BINDING, SECRET, Object, Resource
from flowcluster_operator.store import Store

_logger = logging.getLogger(__name__)


async def apply(
    plan: Plan, observed: Observed, store: Store, memory: Memory, kube: Kube, now: dt.datetime
) -> list[Rejection]:
    """Carry out `plan`: all actions at the same time, then the status, then the events.

    No write goes on after the return. The status is written also when an action failed, because it says what was
    observed.

    Returns:
        The children that the API server refused to create.

    Raises:
        Conflict: the FlowRun changed since it was observed.
        NotFound: the API server does not know yet what it was sent before, or the FlowRun is gone.
        ApiUnavailable, Refused: an action failed; where several did, the error of the first one in the plan.
    """
    outcomes = await asyncio.gather(
        *(_act(action, observed.key, store, memory, kube) for action in plan.actions), return_exceptions=True
    )
    if plan.status is not None and observed.run is not None:
        await _write_status({**observed.run, "status": plan.status}, store, kube)
    for event in plan.events:
        await _emit(event, observed, kube, now)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if isinstance(outcome, Rejection)]


async def _write_status(run: Object, store: Store, kube: Kube) -> None:
    try:
        written = await kube.replace_status(FLOW_RUN, run)
    except (Conflict, NotFound):
        store.remove(FLOW_RUN, run["metadata"]["uid"])  # the next pass reads it: the watch may be late
        raise
    store.put(FLOW_RUN, written)


async def _act(action: Action, key: Key, store: Store, memory: Memory, kube: Kube) -> Rejection | None:
    if isinstance(action, Create) and action.resource is SECRET:
        return await _create_keys(action.body, key, memory, kube)
    if isinstance(action, Create) and action.resource is CONFIG_MAP:
        return await _create_parameters(action.body, key, memory, kube)
    if isinstance(action, Create):
        return await _create(action, key, store, kube)
    try:
        if isinstance(action, Delete):
            answer = await kube.delete(
                action.resource, key.namespace, action.name, action.uid, background=action.background
            )
            if action.background:  # the answer shows the object as it was, and it is gone
                store.remove(action.resource, action.uid)
                return None
        elif isinstance(action, SetWorkers):
            answer = await kube.patch(action.resource, key.namespace, action.name, action.uid, action.patch)
        else:
            let_go = {"metadata": {"finalizers": None}}
            answer = await kube.patch(action.resource, key.namespace, action.name, action.uid, let_go)
    except (NotFound, Conflict):  # gone, or a namesake took its place: what was meant is not there any more
        store.remove(action.resource, action.uid)
        return None
    if answer.get("kind") == action.resource.kind:
        store.put(action.resource, answer)
    return None


async def _create(action: Create, key: Key, store: Store, kube: Kube) -> Rejection | None:
    resource, body = action.resource, action.body
    name = body["metadata"]["name"]
    try:
        store.put(resource, await kube.create(resource, key.namespace, body))
    except Conflict:
        return await _adopt(resource, name, key, store, kube)
    except (Refused, NotFound) as error:
        if resource is ROLE_BINDING and isinstance(error, NotFound):
            raise  # the API server does not know the new Role yet
        return Rejection(resource.kind, name, error.status, str(error))
    return None


async def _create_keys(body: Object, key: Key, memory: Memory, kube: Kube) -> Rejection | None:
    """Only the name is remembered, and nothing is looked up: the operator has no right to read a Secret.

    One of that name was made by an earlier pass, as nobody else knows the Lease's UID before it is there.
    """
    name = body["metadata"]["name"]
    try:
        await kube.create(SECRET, key.namespace, {**body, "data": await asyncio.to_thread(new_keys, name)})
    except Conflict:
        pass
    except (Refused, NotFound) as error:
        return Rejection(SECRET.kind, name, error.status, str(error))
    memory.keys[key] = name
    return None


async def _create_parameters(body: Object, key: Key, memory: Memory, kube: Kube) -> Rejection | None:
    """Create the ConfigMap with the flow's parameters and remember its name.

    Nothing is looked up: the operator has no right to read a ConfigMap. When an earlier pass did not live to see the
    answer, its ConfigMap stays unused until the Lease is deleted, which owns both.
    """
    try:
        made = await kube.create(CONFIG_MAP, key.namespace, body)
    except (Refused, NotFound) as error:
        return Rejection(CONFIG_MAP.kind, names.child_name(key.name, key.uid), error.status, str(error))
    (owner,) = body["metadata"]["ownerReferences"]
    memory.parameters[key] = owner["uid"], made["metadata"]["name"]
    return None


async def _adopt(resource: Resource, name: str, key: Key, store: Store, kube: Kube) -> Rejection | None:
    """Something of that name is there: ours, when an earlier pass did not live to see the answer."""
    try:
        found = await kube.get(resource, key.namespace, name)
    except NotFound:
        return None  # deleted in between: the next pass creates it
    if owned_by(found, key):
        store.put(resource, found)
        return None
    return Rejection(resource.kind, name, 409, f"a {resource.kind} of this name exists and is not the run's")


async def _emit(event: Emit, observed: Observed, kube: Kube, now: dt.datetime) -> None:
    key, stamp = observed.key, timestamp(now)
    body: Object = {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"generateName": f"{key.name}.", "namespace": key.namespace},
        "type": event.type,
        "reason": event.reason,
        "message": event.message,
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
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
        # The story in status has it too; an event is not worth another pass.
        _logger.warning("event %s for %s/%s was not written: %s", event.reason, key.namespace, key.name, error)
