"""Gather everything that a decision about one run may need: from the store, and rarely from the API server.

The API server is asked only where the store cannot know: whether something that is missing is really gone,
and for Events, which nobody watches.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Sequence

from flowcluster_api import conditions as c
from flowcluster_api import lease as leases
from flowcluster_api import names
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.desired.driver_access import driver_account
from flowcluster_operator.desired.metadata import owned_by
from flowcluster_operator.desired.tls import keys_in
from flowcluster_operator.errors import NotFound
from flowcluster_operator.facts import pod_facts
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model import DriverSigns, Key, Observed, Parent, Rejection, Settled
from flowcluster_operator.policies.resizing import live_workers
from flowcluster_operator.reconcile.accounts import PullSecrets, pull_secrets
from flowcluster_operator.reconcile.events import completed, podless, preparing, waiting_for_pods, warned
from flowcluster_operator.resources import (
    ACCESS,
    CHILDREN,
    DEPLOYMENT,
    FLOW_RUN,
    JOB,
    LATECOMERS,
    LEASE,
    POD,
    Object,
    Resource,
)  # fmt: skip
from flowcluster_operator.settling import Settling
from flowcluster_operator.silences import Silences
from flowcluster_operator.status import is_true
from flowcluster_operator.store import Store, parent_reference


async def observe(
    key: Key,
    store: Store,
    kube: Kube,
    memory: Memory,
    rejections: Sequence[Rejection],
    now: dt.datetime,
) -> Observed:
    """The world as far as one run is concerned."""
    run = store.flow_run(key) or await _confirm_gone(store, kube, FLOW_RUN, key, key.name)
    spec = FlowRunSpec.model_validate(run["spec"]) if run else None
    status: Object = (run or {}).get("status") or {}
    over = is_true(status, c.FINISHED)
    backend = BACKENDS[spec.cluster.kind] if spec and spec.cluster else None
    cluster, job = _own_cluster(store, key), _owned(store, JOB, key)
    if run is not None and not over and backend is not None:
        known = (status.get("cluster") or {}).get("name")
        cluster = cluster or await _recorded(store, kube, key, backend.resource, known)
    if run is not None and not over:
        job = job or await _recorded(store, kube, key, JOB, (status.get("flow") or {}).get("job"))
    pods = [pod_facts(pod) for pod in store.children(key, POD)]
    is_live = run is not None and not over
    lacking = podless(cluster, job, pods, bool(store.children(key, DEPLOYMENT))) if is_live else []
    waits = [*waiting_for_pods(lacking), *preparing(pods)] if is_live else []
    events = await memory.events.read(kube, key, waits, now)
    parent = await _parent(store, kube, key, run)
    has_part = not pods and any(obj is not None for obj in (cluster, job, parent))
    lease, driver = await _driver(store, kube, memory.silences, key, spec, parent)
    observed = Observed(
        key=key,
        run=run,
        spec=spec,
        cluster=cluster,
        job=job,
        lease=lease,
        driver=driver,
        access=tuple(obj for resource in ACCESS for obj in store.children(key, resource)),
        keys=memory.keys.get(key),
        pull_secrets=await _pull_secrets(kube, memory, key, spec, status, has_part) if is_live else {},
        parameters=_parameters(memory, key, lease),
        parent=parent,
        deployments=tuple(store.children(key, DEPLOYMENT)),
        latecomers=tuple(obj for resource in LATECOMERS for obj in store.children(key, resource)),
        pods=completed(pods, events),
        warnings=warned(lacking, events),
        events_due=memory.events.next_look(key, now),
        rejections=tuple(rejections),
        referenced=await _referenced(kube, key, spec, backend),
        verified_gone=over and not is_true(status, c.CLUSTER_DELETED) and await _nothing_left(store, kube, key),
    )
    return dataclasses.replace(observed, settled=_settled(observed, backend, memory.settling))


def _settled(observed: Observed, backend: Backend | None, settling: Settling) -> Settled:
    if backend is None or backend.scales_itself or observed.cluster is None:
        return Settled()
    live, requested = len(live_workers(observed)), backend.workers(observed.cluster)
    return settling.see(observed.key, live, requested, asyncio.get_running_loop().time())


def _owned(store: Store, resource: Resource, key: Key) -> Object | None:
    return next((obj for obj in store.children(key, resource) if owned_by(obj, key)), None)


def _own_cluster(store: Store, key: Key) -> Object | None:
    found = (_owned(store, backend.resource, key) for backend in BACKENDS.values())
    return next((cluster for cluster in found if cluster is not None), None)


async def _confirm_gone(store: Store, kube: Kube, resource: Resource, key: Key, name: str) -> Object | None:
    """An object that the store does not have, in case it exists all the same; None when it does not."""
    try:
        found = await kube.get(resource, key.namespace, name)
    except NotFound:
        return None
    if resource is FLOW_RUN and found["metadata"]["uid"] != key.uid:
        return None  # a namesake: another run
    store.put(resource, found)
    return found


async def _recorded(store: Store, kube: Kube, key: Key, resource: Resource, name: str | None) -> Object | None:
    """A child that the status speaks of and the store lacks: to call it lost, the API server must say so."""
    if not name or name != names.child_name(key.name, key.uid):
        return None
    return await _confirm_gone(store, kube, resource, key, name)


def _parameters(memory: Memory, key: Key, lease: Object | None) -> str | None:
    made_for, name = memory.parameters.get(key, (None, None))
    return name if lease is not None and made_for == lease["metadata"]["uid"] else None


async def _pull_secrets(
    kube: Kube, memory: Memory, key: Key, spec: FlowRunSpec | None, status: Object, has_part: bool
) -> PullSecrets:
    """Image pull secrets, just before pods are created: their credentials are there, and no child is recorded."""
    if spec is None or (status.get("cluster") or {}).get("name") or (status.get("flow") or {}).get("job"):
        memory.pull_secrets.pop(key, None)  # the next start reads them again
        return {}
    is_guest = spec.cluster is not None and spec.cluster.ref is not None
    if key not in memory.keys and not is_guest and not has_part:
        return {}
    return await pull_secrets(kube, memory.pull_secrets, key, spec)


async def _parent(store: Store, kube: Kube, key: Key, run: Object | None) -> Parent | None:
    reference = parent_reference(run) if run else None
    if reference is None:
        return None
    above = Key(key.namespace, reference["name"], reference["uid"])
    found = store.flow_run(above) or await _confirm_gone(store, kube, FLOW_RUN, above, above.name)
    if found is None:
        return None  # garbage collection deletes this run, too
    account = driver_account(above, FlowRunSpec.model_validate(found["spec"]))
    job = _owned(store, JOB, above)
    keys = keys_in(job["spec"]["template"]["spec"]) if job else None
    return Parent(above.name, account, keys, is_over=is_true(found.get("status") or {}, c.FINISHED))


async def _driver(
    store: Store, kube: Kube, silences: Silences, key: Key, spec: FlowRunSpec | None, parent: Parent | None
) -> tuple[Object | None, DriverSigns | None]:
    """The run's Lease, and what it tells.

    A long silence is confirmed by the API server, which a watch may lag; so is that there is no last word of a run
    whose parent is over.
    """
    lease, asked = _owned(store, LEASE, key), 0.0
    if lease is None or spec is None:
        return lease, None
    clock = asyncio.get_running_loop().time
    signs = leases.read(lease)
    silent = silences.seconds(key, signs.renewed, clock())
    expected = spec.lease_duration_seconds or (leases.DURATION if signs.holder else None)
    is_late = expected is not None and silent >= expected
    if is_late or (parent is not None and parent.is_over and signs.outcome is None):
        lease = await _confirm_gone(store, kube, LEASE, key, lease["metadata"]["name"])
        if lease is None:
            return None, None
        signs = leases.read(lease)
        silent = silences.seconds(key, signs.renewed, clock())
        asked = silences.asked(key, clock()) if expected is not None and silent >= expected else 0.0
    return lease, DriverSigns(signs.holder, signs.outcome, silent, asked, signs.demand)


async def _referenced(kube: Kube, key: Key, spec: FlowRunSpec | None, backend: Backend | None) -> Object | None:
    if spec is None or spec.cluster is None or spec.cluster.ref is None or backend is None:
        return None
    try:
        return await kube.get(backend.resource, key.namespace, spec.cluster.ref.name)
    except NotFound:
        return None


async def _nothing_left(store: Store, kube: Kube, key: Key) -> bool:
    if any(store.children(key, resource) for resource in CHILDREN):
        return False
    selector = f"{names.LABEL_RUN_UID}={key.uid}"
    lists = await asyncio.gather(*(_list_or_none(kube, resource, key, selector) for resource in CHILDREN))
    for resource, items in zip(CHILDREN, lists, strict=True):
        for item in items:
            store.put(resource, item)
    return not any(lists)


async def _list_or_none(kube: Kube, resource: Resource, key: Key, selector: str) -> list[Object]:
    try:
        found = await kube.list(resource, key.namespace, labels=selector)
    except NotFound:  # the kind itself is not installed
        return []
    items: list[Object] = found["items"]
    return items
