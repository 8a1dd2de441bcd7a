"""Observe one run: gather all that a decision about it can read, from the store, and rarely from the API server.

The operator queries the API server only for what the store does not have: whether a missing object is gone, and objects
that the operator does not watch, such as Events.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence

from flowcluster_api import conditions as c
from flowcluster_api import names
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.backends.registry import backend_of
from flowcluster_operator.desired.credentials import credentials_in
from flowcluster_operator.desired.driver_access import driver_account
from flowcluster_operator.desired.metadata import controlling_run
from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.memory import Memory, PullSecrets
from flowcluster_operator.model.conditions import has_ended, is_true
from flowcluster_operator.model.failures import Rejection, RepeatedFailure
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.observed import Observed, Remains
from flowcluster_operator.model.pods import PodFacts
from flowcluster_operator.model.references import Parent, Reference
from flowcluster_operator.pod_status import pod_facts
from flowcluster_operator.policies.replicas import live_workers
from flowcluster_operator.policies.run_phases import is_suspended, must_be_empty
from flowcluster_operator.reconcile.children import (
    confirm_lost,
    own_cluster,
    owned,
    read_owner,
)
from flowcluster_operator.reconcile.observe_common import (
    of_lease,
    own_credentials,
    read_head,
    remains_of,
    verified_empty,
    with_worker_numbers,
)
from flowcluster_operator.reconcile.observe_driver import observe_driver
from flowcluster_operator.reconcile.pull_secrets import pull_secrets
from flowcluster_operator.reconcile.referenced_shared_cluster import shared_reference, with_kind
from flowcluster_operator.reconcile.verify_deleted import nothing_left
from flowcluster_operator.reconcile.waiting_objects import completed, podless, preparing, waiting_for_pods, warnings
from flowcluster_operator.resources import DASK_WORKER_GROUP, DEPLOYMENT, JOB, LEASE, POD, Object
from flowcluster_operator.specs import parse
from flowcluster_operator.trackers.referenced_clusters import FRESH_SECONDS


async def observe(
    key: RunId,
    store: Store,
    kube: Kube,
    memory: Memory,
    rejections: Sequence[Rejection],
    now: dt.datetime,
    failure: RepeatedFailure | None = None,
) -> Observed | Remains:
    """Observe one run.

    Args:
        key: the run.
        store: the local copy of the API server's objects.
        kube: the client.
        memory: of the operator.
        rejections: children that the API server refused a moment ago.
        now: the time of the pass.
        failure: why the last passes failed; None where the last one succeeded.

    Returns:
        What a decision can read; `Remains` once the FlowRun is deleted.
    """
    run = await read_owner(store, kube, key)
    if run is None:
        return await _remains(key, None, store, kube, memory)
    spec, invalid = parse(run)
    written: Object = run.get("status") or {}
    status = memory.pending_statuses.latest(key, written)
    if status is not written:
        run = {**run, "status": status}
    if "deletionTimestamp" in run["metadata"]:
        return await _remains(key, run, store, kube, memory)
    is_live = not is_true(status, c.FINISHED)
    uses_shared = spec.cluster is not None and spec.cluster.uses_shared
    reference = Reference()
    if uses_shared:
        if is_live:
            reference = await shared_reference(store, kube, memory, key, run, spec)
        spec = with_kind(spec, reference, status)
    backend = backend_of(spec.cluster)
    uses_existing_cluster = spec.cluster is not None and spec.cluster.ref is not None
    has_own = backend is not None and not uses_existing_cluster
    if is_live:
        is_ending = must_be_empty(status)
        await _confirm_children(store, kube, key, status, backend if has_own else None, is_ending=is_ending)
    cluster, job = own_cluster(store, key), owned(store, JOB, key)
    if is_live and job is not None:
        await _read_last_pod(store, kube, key, job)
    if is_live and not uses_existing_cluster and (head := (status.get("cluster") or {}).get("scheduler")):
        await read_head(store, kube, key, head)
    pods = [pod_facts(pod) for pod in store.children(key, POD)]
    deployments, groups = bool(store.children(key, DEPLOYMENT)), store.children(key, DASK_WORKER_GROUP)
    lacking = podless(cluster, job, pods, deployments, groups) if is_live else []
    waits = [*waiting_for_pods(lacking), *preparing(pods)] if is_live else []
    events = await memory.events.read(kube, key, waits, now)
    parent = await _parent(store, kube, key, run)
    lease, driver = await observe_driver(store, kube, memory, key, spec, parent)
    if is_live and not uses_shared:
        reference = await _reference(kube, memory, key, spec, backend, pods)
    verified = await _verified(store, kube, memory, key, status)  # before what follows: it adds to the store
    remains = remains_of(store, key, run, cluster, job, lease, completed(pods, events))
    observed = Observed(
        **remains,
        spec=spec,
        written=written,
        invalid=invalid,
        driver=driver,
        credentials=own_credentials(memory, key, lease, cluster, job),
        parameters=of_lease(memory.parameters.get(key), lease),
        parent=parent,
        child_runs=tuple(found for child in store.child_runs(key) if (found := store.owner(child)) is not None),
        warnings=warnings(lacking, events, pods),
        events_due=memory.events.next_read(key, now),
        rejections=tuple(rejections),
        uses_shared=uses_shared,
        reference=reference,
        verified_gone=verified,
        failure=failure,
    )
    if is_live:
        observed = dataclasses.replace(observed, pull_secrets=await _pull_secrets(observed, kube, memory))
    return with_worker_numbers(observed, backend, memory, live_workers(observed))


async def _remains(key: RunId, run: Object | None, store: Store, kube: Kube, memory: Memory) -> Remains:
    """Return the objects of a run whose FlowRun is deleted; the API server confirms those that its status names."""
    status: Object = (run or {}).get("status") or {}
    if run is not None and not is_true(status, c.FINISHED):
        wanted = parse(run)[0].cluster
        backend = backend_of(wanted) if wanted is not None and wanted.ref is None else None
        await _confirm_children(store, kube, key, status, backend, is_ending=True)
    await _verified(store, kube, memory, key, status)  # before what follows: it adds to the store
    cluster, job, lease = own_cluster(store, key), owned(store, JOB, key), owned(store, LEASE, key)
    pods = [pod_facts(pod) for pod in store.children(key, POD)]
    return Remains(**remains_of(store, key, run, cluster, job, lease, pods))


async def _confirm_children(
    store: Store, kube: Kube, key: RunId, status: Object, backend: Backend | None, *, is_ending: bool
) -> None:
    """Read the children that the run must have, and that the store lacks.

    Args:
        store: the local copy of the API server's objects.
        kube: the client.
        key: the run.
        status: of the run.
        backend: of its own cluster; None where it has none.
        is_ending: as for `confirm_lost`.
    """
    named = {JOB: (status.get("flow") or {}).get("job")}
    if backend is not None:
        named[backend.resource] = (status.get("cluster") or {}).get("name")
    await confirm_lost(store, kube, key, status, named, is_ending=is_ending)


async def _verified(store: Store, kube: Kube, memory: Memory, key: RunId, status: Object) -> bool:
    """Return whether the API server has nothing of a run that must have nothing: of one that is over or stopped."""
    over = is_true(status, c.FINISHED)
    if is_true(status, c.CLUSTER_DELETED) or not (over or must_be_empty(status)):
        memory.verified.discard(key)
        store.forget_gone(key)
        return False
    kind = (status.get("cluster") or {}).get("kind")
    if over:
        return await nothing_left(store, kube, key, kind)
    return await verified_empty(store, kube, memory, key, kind)


async def _read_last_pod(store: Store, kube: Kube, key: RunId, job: Object) -> None:
    """Read the driver's pods if the Job has ended and no ended pod is known: the watch of pods may be late."""
    if not has_ended(job):
        return
    drivers = [pod_facts(pod) for pod in store.children(key, POD)]
    if any(pod.component == names.COMPONENT_DRIVER and pod.ended is not None for pod in drivers):
        return
    selector = f"{names.LABEL_RUN_UID}={key.uid},{names.LABEL_COMPONENT}={names.COMPONENT_DRIVER}"
    for pod in (await kube.list(POD, key.namespace, labels=selector))["items"]:
        store.put(POD, pod)


async def _pull_secrets(observed: Observed, kube: Kube, memory: Memory) -> PullSecrets:
    """Return image pull secrets by ServiceAccount while the Job or the cluster of a run is missing, else none."""
    spec, key = observed.spec, observed.key
    if observed.lease is None or is_suspended(observed.run.get("status") or {}):
        memory.pull_secrets.pop(key, None)  # the next start reads them again
        return {}
    has_own = spec.cluster is not None and not observed.uses_existing_cluster
    lacks_pods = (has_own and observed.cluster is None) or (spec.flow is not None and observed.job is None)
    has_credentials = observed.credentials is not None or observed.parent is not None or observed.uses_existing_cluster
    return await pull_secrets(kube, memory.pull_secrets, key, spec) if lacks_pods and has_credentials else {}


async def _parent(store: Store, kube: Kube, key: RunId, run: Object) -> Parent | None:
    parent = controlling_run(run)
    if parent is None:
        return None
    found = await read_owner(store, kube, parent)
    if found is None:
        return None  # garbage collection deletes this run, too
    spec = parse(found)[0]
    job = owned(store, JOB, parent)
    credentials = credentials_in(job["spec"]["template"]["spec"]) if job else None
    is_over = is_true(found.get("status") or {}, c.FINISHED)
    return Parent(parent.name, driver_account(parent, spec), credentials, is_over, parent.uid, spec)


async def _reference(
    kube: Kube, memory: Memory, key: RunId, spec: FlowRunSpec, backend: Backend | None, pods: Sequence[PodFacts]
) -> Reference:
    if spec.cluster is None or spec.cluster.ref is None or backend is None:
        return Reference()
    # A driver that ended may have lost its cluster a moment ago.
    has_ended = any(pod.component == names.COMPONENT_DRIVER and pod.ended is not None for pod in pods)
    fresh = 0.0 if has_ended else FRESH_SECONDS
    return await memory.referenced_clusters.read(kube, backend, key.namespace, spec.cluster.ref.name, fresh=fresh)
