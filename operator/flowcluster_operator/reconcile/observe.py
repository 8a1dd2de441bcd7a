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
from flowcluster_operator.facts import parse_time, pod_facts
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model import DriverSigns, Key, Observed, Parent, Rejection, Settled, Warned
from flowcluster_operator.policies.resizing import live_workers
from flowcluster_operator.resources import (
    ACCESS,
    CHILDREN,
    DEPLOYMENT,
    EVENT,
    FLOW_RUN,
    JOB,
    LATECOMERS,
    LEASE,
    NETWORK_POLICY,
    POD,
    RAY_CLUSTER,
    Object,
    Resource,
)  # fmt: skip
from flowcluster_operator.settling import Settling
from flowcluster_operator.silences import Silences
from flowcluster_operator.status import is_true
from flowcluster_operator.store import Store, parent_reference

#: Seconds that a Job may be without a pod before its Events are asked for.
_POD_SECONDS = 1.0


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
    parent = await _parent(store, kube, key, run)
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
        network_policies=tuple(store.children(key, NETWORK_POLICY)),
        strays=tuple(obj for obj in store.children(key, LEASE) if obj is not lease),
        keys=memory.keys.get(key),
        parent=parent,
        child_runs=tuple(found for child in store.beneath(key) if (found := store.flow_run(child)) is not None),
        deployments=tuple(store.children(key, DEPLOYMENT)),
        latecomers=tuple(obj for resource in LATECOMERS for obj in store.children(key, resource)),
        pods=tuple(pod_facts(pod) for pod in store.children(key, POD)),
        warnings=await _warnings(kube, key, cluster, job, store, now) if run is not None and not over else (),
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
    """Return the run's object of that kind. Its name counts: a driver can give its own Lease another owner."""
    name = names.child_name(key.name, key.uid)
    found = (obj for obj in store.children(key, resource) if obj["metadata"]["name"] == name)
    return next((obj for obj in found if owned_by(obj, key)), None)


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


async def _parent(store: Store, kube: Kube, key: Key, run: Object | None) -> Parent | None:
    reference = parent_reference(run) if run else None
    if reference is None:
        return None
    above = Key(key.namespace, reference["name"], reference["uid"])
    found = store.flow_run(above) or await _confirm_gone(store, kube, FLOW_RUN, above, above.name)
    if found is None:
        return None  # garbage collection deletes this run, too
    spec = FlowRunSpec.model_validate(found["spec"])
    job = _owned(store, JOB, above)
    keys = keys_in(job["spec"]["template"]["spec"]) if job else None
    is_over = is_true(found.get("status") or {}, c.FINISHED)
    return Parent(above.name, driver_account(above, spec), keys, is_over, above.uid, spec)


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


async def _warnings(
    kube: Kube, key: Key, cluster: Object | None, job: Object | None, store: Store, now: dt.datetime
) -> tuple[Warned, ...]:
    """What Events say of a Job or a RayCluster that has no pod: nothing else tells why."""
    there = {pod["metadata"]["labels"].get(names.LABEL_COMPONENT) for pod in store.children(key, POD)}
    silent = [job] if job is not None and names.COMPONENT_DRIVER not in there else []
    if cluster is not None and cluster["kind"] == RAY_CLUSTER.kind and names.COMPONENT_HEAD not in there:
        silent.append(cluster)
    found: list[Warned] = []
    for obj in silent:
        meta = obj["metadata"]
        if (now - parse_time(meta["creationTimestamp"])).total_seconds() >= _POD_SECONDS:
            events = await kube.list(EVENT, key.namespace, fields=f"involvedObject.uid={meta['uid']},type=Warning")
            found += [
                Warned(obj["kind"], meta["name"], item.get("reason") or "", item.get("message") or "")
                for item in events["items"]
            ]
    return tuple(found)


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
