"""Gather what a decision about one shared cluster may need: from the store, and rarely from the API server."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Sequence

from flowcluster_api import conditions as c
from flowcluster_api import lease as leases
from flowcluster_api import names
from flowcluster_api.handover import CredentialRequest
from flowcluster_api.v1alpha1 import SharedClusterSpec, WorkerGroup
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.desired.metadata import root_name
from flowcluster_operator.facts import pod_facts
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model import DriverSigns, Key, Observed, Rejection, Trouble
from flowcluster_operator.policies.resizing import live_workers
from flowcluster_operator.policies.shared.existing import exists, is_new
from flowcluster_operator.policies.shared.upgrading import IDLE_SECONDS
from flowcluster_operator.reconcile.accounts import PullSecrets, pull_secrets
from flowcluster_operator.reconcile.children import (
    confirm_gone,
    has_had_children,
    own_cluster,
    owned,
    read_owner,
    recorded,
)
from flowcluster_operator.reconcile.events import completed, podless, preparing, waiting_for_pods, warned
from flowcluster_operator.reconcile.reading import (
    confirmed_idle,
    own_keys,
    read_leader,
    verified_dormant,
    with_numbers,
)  # fmt: skip
from flowcluster_operator.reconcile.shared_reference import copied_from
from flowcluster_operator.resources import (
    ACCESS,
    DASK_WORKER_GROUP,
    DEPLOYMENT,
    JOB,
    LEASE,
    NETWORK_POLICY,
    POD,
    UPSTREAM_CHILDREN,
    Object,
)  # fmt: skip
from flowcluster_operator.shared_model import GroupFacts, SharedObserved, User
from flowcluster_operator.shared_specs import parse, view
from flowcluster_operator.sharing import Place, allows, has_same_operator, place_of
from flowcluster_operator.status import is_true
from flowcluster_operator.store import Store


async def observe_shared(
    key: Key,
    store: Store,
    kube: Kube,
    memory: Memory,
    rejections: Sequence[Rejection],
    now: dt.datetime,
    trouble: Trouble | None = None,
) -> SharedObserved:
    """Return the world as far as one shared cluster is concerned."""
    shared = await read_owner(store, kube, key)
    spec, invalid = parse(shared) if shared else (None, None)
    written: Object = (shared or {}).get("status") or {}
    status = memory.reports.latest(key, written)
    if shared is not None and status is not written:
        shared = {**shared, "status": status}
    is_live, backend = shared is not None and exists(status), BACKENDS[spec.kind] if spec is not None else None
    verified = await _verified(store, kube, memory, key, status, is_gone=shared is None)
    users = await _users(store, kube, shared) if shared is not None else ()
    cluster = await _cluster(store, kube, key, backend, status) if is_live else own_cluster(store, key)
    if is_live and (leader := status.get("scheduler")):
        await read_leader(store, kube, key, leader)
    keeper = owned(store, DEPLOYMENT, key)
    deployments = tuple(obj for obj in store.children(key, DEPLOYMENT) if not _is_keeper(obj, key))
    pods = [pod_facts(pod) for pod in store.children(key, POD)]
    lacking = podless(cluster, None, pods, bool(deployments)) if is_live else []
    waits = [*waiting_for_pods(lacking), *preparing(pods)] if is_live else []
    events = await memory.events.read(kube, key, waits, now)
    lease, driver = await _keeper(store, kube, memory, key, spec, status, has_users=bool(users))
    base = Observed(
        key=key,
        run=shared,
        written=written,
        spec=view(spec) if spec is not None else None,
        invalid=invalid,
        cluster=cluster,
        lease=lease,
        driver=driver,
        access=tuple(obj for resource in ACCESS if (obj := owned(store, resource, key)) is not None),
        network_policies=tuple(store.children(key, NETWORK_POLICY)),
        stray_leases=tuple(
            obj for obj in store.children(key, LEASE) if obj["metadata"]["name"] != root_name(LEASE, key)
        ),
        keys=own_keys(memory, key, lease, cluster, None),
        deployments=deployments,
        upstream_children=tuple(obj for resource in UPSTREAM_CHILDREN for obj in store.children(key, resource)),
        orphans=tuple(store.orphans(key)),
        pods=completed(pods, events),
        warnings=warned(lacking, events),
        events_due=memory.events.next_look(key, now),
        rejections=tuple(rejections),
        verified_gone=verified,
        trouble=trouble,
    )
    base = with_numbers(base, backend, memory, live_workers(SharedObserved(base).of_group(None)))
    requests = _requests(store, memory, base, users if is_live else ())
    tests = await _tests(store, kube, key, shared)
    seen = SharedObserved(base, spec, _groups(store, key, spec), users, keeper, requests, tests)
    seen = dataclasses.replace(seen, groups=tuple(_with_numbers(seen, facts, memory) for facts in seen.groups))
    if not is_live:
        memory.pull_secrets.pop(key, None)  # the next start reads them again
        return seen
    secrets = await _pull_secrets(seen, kube, memory)
    return dataclasses.replace(seen, base=dataclasses.replace(seen.base, pull_secrets=secrets))


async def _cluster(store: Store, kube: Kube, key: Key, backend: Backend | None, status: Object) -> Object | None:
    """Return the cluster resource. What is missing is read before it counts as lost."""
    if owned(store, LEASE, key) is None and has_had_children(store, key, {"cluster": {"name": status.get("name")}}):
        await confirm_gone(store, kube, LEASE, key, root_name(LEASE, key))
    known = own_cluster(store, key)
    if known is None and backend is not None:
        return await recorded(store, kube, key, backend.resource, status.get("name"))
    return known


async def _users(store: Store, kube: Kube, shared: Object) -> tuple[User, ...]:
    """Return the FlowRuns that use the cluster or wait for it, by namespace and name."""
    users = []
    for key, use in list(store.uses(place_of(shared)).items()):
        if not use.is_live or not allows(shared, key.namespace):
            continue
        if (run := await read_owner(store, kube, key)) is not None:
            is_elsewhere = key.namespace != shared["metadata"]["namespace"]
            needs = use.has_driver and is_elsewhere and has_same_operator(run, shared)
            users.append(User(key.uid, key.name, key.namespace, use.priority, use.threads, needs))
    return tuple(sorted(users, key=lambda user: (user.namespace, user.name, user.uid)))


async def _tests(store: Store, kube: Kube, key: Key, shared: Object | None) -> tuple[Object, ...]:
    """Return the pods of `helm test` for a SharedCluster that is being deleted or gone; none while it lives.

    They have its name only, so a successor of that name keeps them.
    """
    is_live = shared is not None and "deletionTimestamp" not in shared["metadata"]
    if is_live or store.shared_key(Place(key.namespace, key.name)) not in (None, key):
        return ()
    selector = f"{names.LABEL_SHARED}={key.name},{names.LABEL_COMPONENT}={names.COMPONENT_TEST}"
    return tuple((await kube.list(POD, key.namespace, labels=selector))["items"])


def _requests(store: Store, memory: Memory, base: Observed, users: Sequence[User]) -> tuple[CredentialRequest, ...]:
    """Return the requests for credentials to have in the Lease: for runs of other namespaces without a Secret."""
    if base.lease is not None:
        memory.handovers.read(base.key, base.lease)
    needing = []
    for user in users:
        run = Key(user.namespace, user.name, user.uid)
        if user.needs_credentials and owned(store, JOB, run) is None and copied_from(store, memory, run) != base.keys:
            needing.append(run)
    now = asyncio.get_running_loop().time()
    return memory.handovers.requests(base.key, base.keys or "", needing if base.keys is not None else (), now)


async def _keeper(
    store: Store,
    kube: Kube,
    memory: Memory,
    key: Key,
    spec: SharedClusterSpec | None,
    status: Object,
    *,
    has_users: bool,
) -> tuple[Object | None, DriverSigns | None]:
    """Return the cluster's Lease, and what its keeper reports.

    The API server confirms idleness while a shutdown or an upgrade may follow from it. The silence of a keeper ends
    nothing, so it is not confirmed.
    """
    lease = owned(store, LEASE, key)
    if lease is None or spec is None:
        return lease, None
    clock = asyncio.get_running_loop().time
    limit = None if has_users else _idle_limit(spec, status)
    is_idle = _is_idle(lease, limit)
    if is_idle:
        lease = await confirm_gone(store, kube, LEASE, key, lease["metadata"]["name"])
        if lease is None:
            return None, None
        is_idle = _is_idle(lease, limit)
    signs = leases.read(lease)
    silent = memory.silences.seconds(key, signs.renewed, clock())
    idle = confirmed_idle(memory, key, is_idle, clock())
    return lease, DriverSigns(signs.holder, signs.outcome, silent, 0.0, signs.demand, signs.progress, idle)


def _idle_limit(spec: SharedClusterSpec, status: Object) -> int | None:
    """Return the seconds of idleness from which something may follow; None where nothing does."""
    waits_for_upgrade = any(
        item["type"] == c.UP_TO_DATE and item["status"] == "False" for item in status.get("conditions") or []
    )
    return IDLE_SECONDS if waits_for_upgrade else spec.idle_shutdown_seconds


def _is_idle(lease: Object, limit: int | None) -> bool:
    """Whether the keeper reports to be idle for so many seconds."""
    progress = leases.read(lease).progress
    return limit is not None and progress is not None and progress.idle is not None and progress.idle >= limit


async def _verified(store: Store, kube: Kube, memory: Memory, key: Key, status: Object, *, is_gone: bool) -> bool:
    """Whether the API server has nothing of a cluster that must not exist now."""
    if is_gone or exists(status) or is_new(status):
        memory.verified.discard(key)
        store.forget_gone(key)
        return False
    return await verified_dormant(store, kube, memory, key, status.get("kind"))


def _is_keeper(deployment: Object, key: Key) -> bool:
    return bool(deployment["metadata"]["name"] == root_name(DEPLOYMENT, key))


def _groups(store: Store, key: Key, spec: SharedClusterSpec | None) -> tuple[GroupFacts, ...]:
    """Return the further worker groups, with the DaskWorkerGroups that exist."""
    there = {obj["metadata"]["name"]: obj for obj in store.children(key, DASK_WORKER_GROUP)}
    cluster = names.child_name(key.name, key.uid)

    def facts(group: WorkerGroup) -> GroupFacts:
        return GroupFacts(group, there.get(names.group_name(cluster, group.name)))

    return tuple(facts(group) for group in spec.worker_groups) if spec is not None else ()


def _with_numbers(seen: SharedObserved, facts: GroupFacts, memory: Memory) -> GroupFacts:
    """Return the facts of a group, with how long its numbers of workers have been at rest."""
    if facts.resource is None:
        return facts
    requested = BACKENDS["Dask"].group_sizes(0, facts.group.name).workers(facts.resource)
    live, now = len(live_workers(seen.of_group(facts))), asyncio.get_running_loop().time()
    numbers = seen.base.key, live, requested, now, facts.group.name
    return dataclasses.replace(facts, settled=memory.settling.see(*numbers), served=memory.requests.see(*numbers))


async def _pull_secrets(seen: SharedObserved, kube: Kube, memory: Memory) -> PullSecrets:
    """Return image pull secrets by account while a part of the cluster is to be created, else none."""
    base = seen.base
    lacks_pods = base.cluster is None or seen.keeper is None or not is_true(base.written or {}, c.CLUSTER_READY)
    if base.spec is None or base.lease is None or base.keys is None or not lacks_pods:
        return {}
    return await pull_secrets(kube, memory.pull_secrets, base.key, base.spec)
