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
from flowcluster_operator.backends.registry import backend_of
from flowcluster_operator.desired.driver_access import driver_account
from flowcluster_operator.desired.metadata import controlling_run, root_name
from flowcluster_operator.desired.tls import keys_in
from flowcluster_operator.facts import pod_facts
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory
from flowcluster_operator.model import (
    DriverSigns,
    Key,
    Observed,
    Parent,
    PodFacts,
    Reference,
    Rejection,
    Trouble,
)  # fmt: skip
from flowcluster_operator.policies.ending import is_dormant, is_suspended
from flowcluster_operator.policies.idleness import reports_idle
from flowcluster_operator.policies.lease import expected
from flowcluster_operator.policies.resizing import live_workers
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
    of_lease,
    own_keys,
    read_leader,
    verified_dormant,
    with_numbers,
)
from flowcluster_operator.reconcile.references import FRESH_SECONDS
from flowcluster_operator.reconcile.shared_reference import shared_reference, with_kind
from flowcluster_operator.reconcile.verify import nothing_left
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
from flowcluster_operator.specs import parse
from flowcluster_operator.status import is_true
from flowcluster_operator.store import Store


async def observe(
    key: Key,
    store: Store,
    kube: Kube,
    memory: Memory,
    rejections: Sequence[Rejection],
    now: dt.datetime,
    trouble: Trouble | None = None,
) -> Observed:
    """Return the world as far as one run is concerned."""
    run = await read_owner(store, kube, key)
    spec, invalid = parse(run) if run else (None, None)
    written: Object = (run or {}).get("status") or {}
    status = memory.reports.latest(key, written)
    if run is not None and status is not written:
        run = {**run, "status": status}
    over = is_true(status, c.FINISHED)
    is_live = run is not None and not over
    uses_shared = spec is not None and spec.cluster is not None and spec.cluster.uses_shared
    reference = Reference()
    if spec is not None and uses_shared:
        if run is not None and is_live:
            reference = await shared_reference(store, kube, memory, key, run, spec)
        spec = with_kind(spec, reference, status)
    backend = backend_of(spec.cluster if spec else None)
    is_guest = spec is not None and spec.cluster is not None and spec.cluster.ref is not None
    if is_live and owned(store, LEASE, key) is None and has_had_children(store, key, status):
        await confirm_gone(store, kube, LEASE, key, root_name(LEASE, key))
    cluster, job = own_cluster(store, key), owned(store, JOB, key)
    if is_live and backend is not None and not is_guest:
        known = (status.get("cluster") or {}).get("name")
        cluster = cluster or await recorded(store, kube, key, backend.resource, known)
    if is_live:
        job = job or await recorded(store, kube, key, JOB, (status.get("flow") or {}).get("job"))
    if is_live and job is not None:
        await _read_last_pod(store, kube, key, job)
    if is_live and not is_guest and (leader := (status.get("cluster") or {}).get("scheduler")):
        await read_leader(store, kube, key, leader)
    pods = [pod_facts(pod) for pod in store.children(key, POD)]
    deployments, groups = bool(store.children(key, DEPLOYMENT)), store.children(key, DASK_WORKER_GROUP)
    lacking = podless(cluster, job, pods, deployments, groups) if is_live else []
    waits = [*waiting_for_pods(lacking), *preparing(pods)] if is_live else []
    events = await memory.events.read(kube, key, waits, now)
    parent = await _parent(store, kube, key, run)
    lease, driver = await _driver(store, kube, memory, key, spec, parent)
    if is_live and not uses_shared:
        reference = await _reference(kube, memory, key, spec, backend, pods)
    verified = await _verified(store, kube, memory, key, status)  # what it finds is in the store for what follows
    observed = Observed(
        key=key,
        run=run,
        written=written,
        spec=spec,
        invalid=invalid,
        cluster=cluster,
        job=job,
        lease=lease,
        driver=driver,
        access=tuple(obj for resource in ACCESS if (obj := owned(store, resource, key)) is not None),
        network_policies=tuple(store.children(key, NETWORK_POLICY)),
        stray_leases=tuple(
            obj for obj in store.children(key, LEASE) if obj["metadata"]["name"] != root_name(LEASE, key)
        ),
        keys=own_keys(memory, key, lease, cluster, job),
        parameters=of_lease(memory.parameters.get(key), lease),
        parent=parent,
        child_runs=tuple(found for child in store.child_runs(key) if (found := store.owner(child)) is not None),
        deployments=tuple(store.children(key, DEPLOYMENT)),
        upstream_children=tuple(obj for resource in UPSTREAM_CHILDREN for obj in store.children(key, resource)),
        orphans=tuple(store.orphans(key)),
        pods=completed(pods, events),
        warnings=warned(lacking, events, pods),
        events_due=memory.events.next_look(key, now),
        rejections=tuple(rejections),
        uses_shared=uses_shared,
        reference=reference,
        verified_gone=verified,
        trouble=trouble,
    )
    if is_live:
        observed = dataclasses.replace(observed, pull_secrets=await _pull_secrets(observed, kube, memory))
    return with_numbers(observed, backend, memory, live_workers(observed))


async def _verified(store: Store, kube: Kube, memory: Memory, key: Key, status: Object) -> bool:
    """Whether the API server has nothing of a run that must have nothing: it is over, suspended or begins again."""
    over = is_true(status, c.FINISHED)
    if is_true(status, c.CLUSTER_DELETED) or not (over or is_dormant(status)):
        memory.verified.discard(key)
        store.forget_gone(key)
        return False
    kind = (status.get("cluster") or {}).get("kind")
    if over:
        return await nothing_left(store, kube, key, kind)
    return await verified_dormant(store, kube, memory, key, kind)


async def _read_last_pod(store: Store, kube: Kube, key: Key, job: Object) -> None:
    """Read the driver's pods when the Job has ended and no pod that ended is known: the watch may be late."""
    conditions = (job.get("status") or {}).get("conditions") or []
    if not any(item["type"] in ("Complete", "Failed") and item["status"] == "True" for item in conditions):
        return
    drivers = [pod_facts(pod) for pod in store.children(key, POD)]
    if any(pod.component == names.COMPONENT_DRIVER and pod.ended is not None for pod in drivers):
        return
    selector = f"{names.LABEL_RUN_UID}={key.uid},{names.LABEL_COMPONENT}={names.COMPONENT_DRIVER}"
    for pod in (await kube.list(POD, key.namespace, labels=selector))["items"]:
        store.put(POD, pod)


async def _pull_secrets(observed: Observed, kube: Kube, memory: Memory) -> PullSecrets:
    """Return image pull secrets by account while the Job or the cluster of a run is to be created, else none."""
    assert observed.spec is not None
    assert observed.run is not None
    spec, key = observed.spec, observed.key
    if observed.lease is None or is_suspended(observed.run.get("status") or {}):
        memory.pull_secrets.pop(key, None)  # the next start reads them again
        return {}
    has_own = spec.cluster is not None and not observed.is_guest
    lacks_pods = (has_own and observed.cluster is None) or (spec.flow is not None and observed.job is None)
    has_keys = observed.keys is not None or observed.parent is not None or observed.is_guest
    return await pull_secrets(kube, memory.pull_secrets, key, spec) if lacks_pods and has_keys else {}


async def _parent(store: Store, kube: Kube, key: Key, run: Object | None) -> Parent | None:
    above = controlling_run(run) if run else None
    if above is None:
        return None
    found = await read_owner(store, kube, above)
    if found is None:
        return None  # garbage collection deletes this run, too
    spec = parse(found)[0]
    job = owned(store, JOB, above)
    keys = keys_in(job["spec"]["template"]["spec"]) if job else None
    is_over = is_true(found.get("status") or {}, c.FINISHED)
    return Parent(above.name, driver_account(above, spec), keys, is_over, above.uid, spec)


async def _driver(
    store: Store, kube: Kube, memory: Memory, key: Key, spec: FlowRunSpec | None, parent: Parent | None
) -> tuple[Object | None, DriverSigns | None]:
    """Return the run's Lease, and what it reports.

    A long silence is confirmed by the API server, which a watch may lag; so are that a run is idle for too long, and
    that there is no outcome of a run whose parent is over.
    """
    silences = memory.silences
    lease, asked = owned(store, LEASE, key), 0.0
    if lease is None or spec is None:
        return lease, None
    clock = asyncio.get_running_loop().time
    signs = leases.read(lease)
    silent = silences.seconds(key, signs.renewed, clock())
    limit = expected(spec, signs.holder)
    is_late = limit is not None and silent >= limit
    is_idle = reports_idle(spec, signs.progress)
    if is_late or is_idle or (parent is not None and parent.is_over and signs.outcome is None):
        lease = await confirm_gone(store, kube, LEASE, key, lease["metadata"]["name"])
        if lease is None:
            return None, None
        signs = leases.read(lease)
        silent = silences.seconds(key, signs.renewed, clock())
        asked = silences.asked(key, clock()) if limit is not None and silent >= limit else 0.0
    idle = confirmed_idle(memory, key, is_idle and reports_idle(spec, signs.progress), clock())
    return lease, DriverSigns(signs.holder, signs.outcome, silent, asked, signs.demand, signs.progress, idle)


async def _reference(
    kube: Kube, memory: Memory, key: Key, spec: FlowRunSpec | None, backend: Backend | None, pods: Sequence[PodFacts]
) -> Reference:
    if spec is None or spec.cluster is None or spec.cluster.ref is None or backend is None:
        return Reference()
    # A driver that ended may have lost its cluster a moment ago.
    has_ended = any(pod.component == names.COMPONENT_DRIVER and pod.ended is not None for pod in pods)
    fresh = 0.0 if has_ended else FRESH_SECONDS
    return await memory.references.read(kube, backend, key.namespace, spec.cluster.ref.name, fresh=fresh)
