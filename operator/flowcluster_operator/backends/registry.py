"""The backends by kind of cluster."""

from __future__ import annotations

from flowcluster_api.v1alpha1 import Cluster
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.backends.dask import DaskBackend
from flowcluster_operator.backends.ray import RayBackend

BACKENDS: dict[str, Backend] = {backend.kind: backend for backend in (DaskBackend(), RayBackend())}


def backend_of(cluster: Cluster | None) -> Backend | None:
    """Return the backend of a cluster; None for no cluster, and for a reference whose kind is not known yet."""
    return BACKENDS[cluster.kind] if cluster is not None and cluster.kind is not None else None
