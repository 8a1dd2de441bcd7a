"""The name of the cluster that a run uses."""

from __future__ import annotations

from flowcluster_operator.backends.base import Backend
from flowcluster_operator.desired.metadata import root_name
from flowcluster_operator.model.observed import Observed


def cluster_name(observed: Observed, backend: Backend) -> str:
    """Return the name of the cluster that the run uses: its own, or the one that the spec names.

    For a SharedCluster, the name is empty until its DaskCluster or RayCluster exists. The name of a run's own
    RayCluster is known once the run's Lease exists.
    """
    if observed.uses_shared:
        return str(observed.referenced["metadata"]["name"]) if observed.referenced is not None else ""
    cluster = observed.spec.cluster
    if cluster is not None and cluster.ref is not None:
        return cluster.ref.name
    return root_name(backend.resource, observed.key, observed.lease["metadata"]["uid"] if observed.lease else "")
