"""Write the status of a FlowRun or SharedCluster to the API server."""

from __future__ import annotations

from flowcluster_operator.errors import Conflict, NotFound
from flowcluster_operator.informer.store import Store
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.resources import OWNERS, Object


async def write_status(key: RunId, owner: Object, status: Object, store: Store, kube: Kube) -> None:
    """Replace the status of the object that the pass observed; its UID and resource version are preconditions.

    Raises:
        Conflict: the FlowRun or SharedCluster changed since it was observed.
        NotFound: it is gone.
    """
    resource, meta = OWNERS[key.kind], owner["metadata"]
    meta = {field: meta[field] for field in ("name", "namespace", "uid", "resourceVersion")}
    # The API server takes only the status: the spec, with its parameters, can be large.
    body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, "status": status}
    try:
        written = await kube.replace_status(resource, body)
    except (Conflict, NotFound):
        store.invalidate(meta["uid"])  # the next pass reads it: the watch may be late
        raise
    store.put(resource, written)
