"""Which backend serves which kind of cluster."""

from __future__ import annotations

from flowcluster_operator.backends.base import Backend
from flowcluster_operator.backends.dask import DaskBackend
from flowcluster_operator.backends.ray import RayBackend

BACKENDS: dict[str, Backend] = {backend.kind: backend for backend in (DaskBackend(), RayBackend())}
