"""Observe one shared cluster: gather all that a decision about it can read, rarely from the API server."""

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
from flowcluster_operator.backends.registry import BACKENDS
from flowcluster_operator.desired.metadata import root_name
from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory, PullSecrets
from flowcluster_operator.model.conditions import is_false, is_true
from flowcluster_operator.model.failures import Rejection, RepeatedFailure
from flowcluster_operator.model.heartbeat import DriverHeartbeat
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.observed import Observed, Remains
from flowcluster_operator.model.shared import GroupFacts, SharedInvalid, SharedObserved, SharedRemains, User
from flowcluster_operator.pod_status import pod_facts
from flowcluster_operator.policies.replicas import live_workers
from flowcluster_operator.policies.shared.phases import exists, is_new
from flowcluster_operator.policies.shared.upgrade import IDLE_SECONDS
from flowcluster_operator.reconcile.children import (
    confirm_gone,
    confirm_lost,
    own_cluster,
    owned,
    read_owner,
)
from flowcluster_operator.reconcile.observe_common import (
    idle_confirmed_for,
    own_credentials,
    read_head,
    remains_of,
    verified_empty,
    with_worker_numbers,
)
from flowcluster_operator.reconcile.pull_secrets import pull_secrets
from flowcluster_operator.reconcile.referenced_shared_cluster import copied_from
from flowcluster_operator.reconcile.waiting_objects import completed, podless, preparing, waiting_for_pods, warnings
from flowcluster_operator.resources import (
    DASK_WORKER_GROUP,
    DEPLOYMENT,
    JOB,
    LEASE,
    POD,
    Object,
)  # fmt: skip
from flowcluster_operator.shared_cluster_use import NamespacedName, allows, has_same_operator, name_of
from flowcluster_operator.shared_specs import parse, view


async def observe_shared(
    key: RunId,
    store: Store,
    kube: Kube,
    memory: Memory,
    rejections: Sequence[Rejection],
    now: dt.datetime,
    failure: RepeatedFailure | None = None,
) -> SharedObserved | SharedInvalid | SharedRemains:
    """Observe one shared cluster.

    Args:
        key: the shared cluster.
        store: the local copy of the API server's objects.
        kube: the client.
        memory: of the operator.
        rejections: children that the API server refused a moment ago.
        now: the time of the pass.
        failure: why the last passes failed; None where the last one succeeded.

    Returns:
        What a decision can read; `SharedRemains` once the SharedCluster is deleted, `SharedInvalid` while its spec is
        invalid.
    """
    shared = await read_owner(store, kube, key)
    if shared is None or "deletionTimestamp" in shared["metadata"]:
        status: Object = (shared or {}).get("status") or {}
        await _verified(store, kube, memory, key, status, is_gone=shared is None)
        return SharedRemains(_remains(store, key, shared), await _tests(store, kube, key))
    spec, invalid = parse(shared)
    written: Object = shared.get("status") or {}
    status = memory.pending_statuses.latest(key, written)
    if status is not written:
        shared = {**shared, "status": status}
    if spec is None:
        return SharedInvalid(_remains(store, key, shared), shared, written, invalid or "the spec is invalid")
    is_live, backend = exists(status), BACKENDS[spec.kind]
    verified = await _verified(store, kube, memory, key, status, is_gone=False)
    users = await _users(store, kube, shared)
    if is_live:
        name = status.get("name")
        await confirm_lost(store, kube, key, {"cluster": {"name": name}}, {backend.resource: name}, is_ending=False)
    cluster = own_cluster(store, key)
    if is_live and (head := status.get("scheduler")):
        await read_head(store, kube, key, head)
    deployments = _deployments(store, key)
    pods = [pod_facts(pod) for pod in store.children(key, POD)]
    lacking = podless(cluster, None, pods, bool(deployments)) if is_live else []
    waits = [*waiting_for_pods(lacking), *preparing(pods)] if is_live else []
    events = await memory.events.read(kube, key, waits, now)
    lease, driver = await _keeper(store, kube, memory, key, spec, status, has_users=bool(users))
    remains = remains_of(store, key, shared, cluster, None, lease, completed(pods, events))
    base = Observed(
        **remains | {"deployments": deployments},
        spec=view(spec),
        written=written,
        driver=driver,
        credentials=own_credentials(memory, key, lease, cluster, None),
        warnings=warnings(lacking, events),
        events_due=memory.events.next_read(key, now),
        rejections=tuple(rejections),
        verified_gone=verified,
        failure=failure,
    )
    seen = SharedObserved(base, spec, _groups(store, key, spec), users, owned(store, DEPLOYMENT, key))
    base = with_worker_numbers(base, backend, memory, live_workers(seen.of_group(None)))
    groups = tuple(_with_worker_numbers(seen, facts, memory) for facts in seen.groups)
    requests = _requests(store, memory, base, users if is_live else ())
    seen = dataclasses.replace(seen, base=base, groups=groups, requests=requests)
    if not is_live:
        memory.pull_secrets.pop(key, None)  # the next start reads them again
        return seen
    secrets = await _pull_secrets(seen, kube, memory)
    return dataclasses.replace(seen, base=dataclasses.replace(seen.base, pull_secrets=secrets))


def _remains(store: Store, key: RunId, shared: Object | None) -> Remains:
    """Return the objects of a shared cluster that is deleted, or whose spec is invalid."""
    pods = [pod_facts(pod) for pod in store.children(key, POD)]
    cluster, lease = own_cluster(store, key), owned(store, LEASE, key)
    remains = remains_of(store, key, shared, cluster, None, lease, pods)
    return Remains(**remains | {"deployments": _deployments(store, key)})


def _deployments(store: Store, key: RunId) -> tuple[Object, ...]:
    """Return the Deployments of scheduler and workers: all but that of the keeper."""
    name = root_name(DEPLOYMENT, key)
    return tuple(obj for obj in store.children(key, DEPLOYMENT) if obj["metadata"]["name"] != name)


async def _users(store: Store, kube: Kube, shared: Object) -> tuple[User, ...]:
    """Return the FlowRuns that use the cluster or wait for it, by namespace and name."""
    users = []
    for key, use in list(store.uses(name_of(shared)).items()):
        if not use.is_live or not allows(shared, key.namespace):
            continue
        if (run := await read_owner(store, kube, key)) is not None:
            is_elsewhere = key.namespace != shared["metadata"]["namespace"]
            needs = use.has_driver and is_elsewhere and has_same_operator(run, shared)
            users.append(User(key.uid, key.name, key.namespace, use.priority, use.threads, needs))
    return tuple(sorted(users, key=lambda user: (user.namespace, user.name, user.uid)))


async def _tests(store: Store, kube: Kube, key: RunId) -> tuple[Object, ...]:
    """Return the pods of `helm test` for a SharedCluster that is deleted.

    Only the name of the SharedCluster links them to it. So they belong to another SharedCluster of that name, if one
    exists.
    """
    if store.shared_key(NamespacedName(key.namespace, key.name)) not in (None, key):
        return ()
    selector = f"{names.LABEL_SHARED}={key.name},{names.LABEL_COMPONENT}={names.COMPONENT_TEST}"
    return tuple((await kube.list(POD, key.namespace, labels=selector))["items"])


def _requests(store: Store, memory: Memory, base: Observed, users: Sequence[User]) -> tuple[CredentialRequest, ...]:
    """Return the requests for credentials that the Lease must have: for runs of other namespaces without a Secret."""
    if base.lease is not None:
        memory.credential_exchanges.read(base.key, base.lease)
    needing = []
    for user in users:
        run = RunId(user.namespace, user.name, user.uid)
        if (
            user.needs_credentials
            and owned(store, JOB, run) is None
            and copied_from(store, memory, run) != base.credentials
        ):
            needing.append(run)
    now = asyncio.get_running_loop().time()
    return memory.credential_exchanges.requests(
        base.key, base.credentials or "", needing if base.credentials is not None else (), now
    )


async def _keeper(
    store: Store,
    kube: Kube,
    memory: Memory,
    key: RunId,
    spec: SharedClusterSpec,
    status: Object,
    *,
    has_users: bool,
) -> tuple[Object | None, DriverHeartbeat | None]:
    """Return the cluster's Lease, and the last heartbeat of its keeper.

    The operator reads the Lease from the API server while a shutdown or an upgrade may follow from idleness. It does
    not for missing heartbeats, because they end nothing.
    """
    lease = owned(store, LEASE, key)
    if lease is None:
        return None, None
    clock = asyncio.get_running_loop().time
    limit = None if has_users else _idle_limit(spec, status)
    is_idle = _is_idle(lease, limit)
    if is_idle:
        lease = await confirm_gone(store, kube, LEASE, key, lease["metadata"]["name"])
        if lease is None:
            return None, None
        is_idle = _is_idle(lease, limit)
    state = leases.read(lease)
    return lease, DriverHeartbeat(
        holder=state.holder,
        outcome=state.outcome,
        silent_for=memory.heartbeats.silent_for(key, state.renewed, clock()),
        confirmed_for=0.0,
        demand=state.demand,
        progress=state.progress,
        idle_confirmed_for=idle_confirmed_for(memory, key, is_idle, clock()),
    )


def _idle_limit(spec: SharedClusterSpec, status: Object) -> int | None:
    """Return the seconds of idleness after which a shutdown or an upgrade may follow; None where none can."""
    return IDLE_SECONDS if is_false(status, c.UP_TO_DATE) else spec.idle_shutdown_seconds


def _is_idle(lease: Object, limit: int | None) -> bool:
    """Return whether the keeper reports the cluster as idle for at least that many seconds."""
    progress = leases.read(lease).progress
    return limit is not None and progress is not None and progress.idle is not None and progress.idle >= limit


async def _verified(store: Store, kube: Kube, memory: Memory, key: RunId, status: Object, *, is_gone: bool) -> bool:
    """Return whether the API server has nothing of a cluster that must not exist now."""
    if is_gone or exists(status) or is_new(status):
        memory.verified.discard(key)
        store.forget_gone(key)
        return False
    return await verified_empty(store, kube, memory, key, status.get("kind"))


def _groups(store: Store, key: RunId, spec: SharedClusterSpec) -> tuple[GroupFacts, ...]:
    """Return the further worker groups, with the DaskWorkerGroups that exist."""
    existing = {obj["metadata"]["name"]: obj for obj in store.children(key, DASK_WORKER_GROUP)}
    cluster = names.child_name(key.name, key.uid)

    def facts(group: WorkerGroup) -> GroupFacts:
        return GroupFacts(group, existing.get(names.group_name(cluster, group.name)))

    return tuple(facts(group) for group in spec.worker_groups)


def _with_worker_numbers(seen: SharedObserved, facts: GroupFacts, memory: Memory) -> GroupFacts:
    """Return the facts of a group, with how long its numbers of workers have been stable."""
    if facts.resource is None:
        return facts
    key, group, now = seen.base.key, facts.group.name, asyncio.get_running_loop().time()
    requested = BACKENDS[seen.spec.kind].scalable_group(0, group).requested_workers(facts.resource)
    live = len(live_workers(seen.of_group(facts)))
    return dataclasses.replace(
        facts,
        stability=memory.stability.record(key, live, requested, now, group),
        request=memory.worker_requests.record(key, live, requested, now, group),
    )


async def _pull_secrets(seen: SharedObserved, kube: Kube, memory: Memory) -> PullSecrets:
    """Return image pull secrets by account while a part of the cluster is to be created, else none."""
    base = seen.base
    lacks_pods = base.cluster is None or seen.keeper is None or not is_true(base.written or {}, c.CLUSTER_READY)
    if base.lease is None or base.credentials is None or not lacks_pods:
        return {}
    return await pull_secrets(kube, memory.pull_secrets, base.key, base.spec)
