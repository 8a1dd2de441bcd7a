"""The instructions that the operator writes into the Lease of a shared cluster for its keeper."""

from __future__ import annotations

from flowcluster_api import handover
from flowcluster_api.keeper import Bounds, LiveRun, listable, patch, read
from flowcluster_operator.model.plan import PatchObject
from flowcluster_operator.model.shared import SharedObserved
from flowcluster_operator.policies.shared.worker_groups import WorkerGroupState
from flowcluster_operator.resources import LEASE


def update_instructions(seen: SharedObserved, groups: list[WorkerGroupState]) -> PatchObject | None:
    """Return the patch that writes the present instructions into the Lease; None where the Lease has them.

    A new run of another namespace needs only one write: it has the run's entry and the request for its credentials.
    """
    lease = seen.base.lease
    if lease is None or "deletionTimestamp" in lease["metadata"]:
        return None
    bounds = tuple((group.name, _bounds(group)) for group in groups)
    runs = [LiveRun.of(user.uid, user.priority, user.threads) for user in seen.users]
    known = read(lease)
    wanted = listable(bounds, runs, known.digests if known is not None else ())
    is_known = known is not None and known.to_json() == wanted.to_json()
    annotations = {} if is_known else dict(patch(wanted)["metadata"]["annotations"])
    requests = handover.text_of(seen.requests)
    if requests != handover.text_in(lease, handover.ANNOTATION_REQUESTS):
        annotations[handover.ANNOTATION_REQUESTS] = requests
    if not annotations:
        return None
    change = {"metadata": {"annotations": annotations}}
    return PatchObject(LEASE, lease["metadata"]["name"], lease["metadata"]["uid"], change)


def _bounds(group: WorkerGroupState) -> Bounds:
    cluster = group.seen.spec.cluster
    workers = cluster.workers if cluster is not None else None
    offered = tuple(sorted(workers.task_resources.items())) if workers is not None else ()
    return Bounds(group.scale.minimum, group.scale.maximum, group.threads, offered)
