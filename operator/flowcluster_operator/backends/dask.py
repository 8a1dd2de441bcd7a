"""Dask clusters: DaskCluster resources, served by the stock dask-kubernetes operator."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from flowcluster_api import names, ports
from flowcluster_api.v1alpha1 import FlowRunSpec, WorkerGroup
from flowcluster_operator.backends.base import Scalable
from flowcluster_operator.desired.credentials import credentials_in
from flowcluster_operator.desired.dask_cluster import (
    LABEL_CLUSTER_NAME,
    LABEL_DASK_COMPONENT,
    dask_cluster,
    dask_worker_group,
    scheduler_address,
    scheduler_host,
    scheduler_service,
)  # fmt: skip
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.workers import Group, Scale
from flowcluster_operator.resources import DASK_CLUSTER, DASK_WORKER_GROUP, LAST_HANDLED, Object, Resource
from flowcluster_operator.settings import Settings


class _Replicas:
    """What a DaskCluster and a DaskWorkerGroup have in common as `Scalable`: both have the number in `spec.worker`."""

    def requested_workers(self, cluster: Object) -> int:
        """See `Scalable.requested_workers`."""
        return int(cluster["spec"]["worker"].get("replicas", 0))

    def scale_patch(self, cluster: Object, scale: Scale) -> Object:
        """See `Scalable.scale_patch`."""
        return {"spec": {"worker": {"replicas": scale.target}}}

    def accepts_scaling(self, cluster: Object) -> bool:
        """Return whether dask-kubernetes has created the parts of a new object.

        kopf then writes its annotation. Before that, dask-kubernetes takes a new number for a part of the creation, and
        does not act on it. Of 12 clusters whose number changed as soon as they had a scheduler, all stayed without
        workers. Of 12 whose number changed after the annotation, none did.
        """
        return LAST_HANDLED in (cluster["metadata"].get("annotations") or {})


class DaskBackend(_Replicas):
    """Implements `Backend` for ``kubernetes.dask.org/v1``."""

    kind = "Dask"
    resource: Resource = DASK_CLUSTER
    replaces_head = True
    scales_itself = False
    #: dask-kubernetes writes an Event when it fails to create a Deployment. With many clusters it needs some seconds.
    podless_seconds = 5.0

    def build(
        self,
        key: RunId,
        spec: FlowRunSpec,
        settings: Settings,
        scale: Scale,
        credentials: str,
        groups: Sequence[Group] = (),
    ) -> Object:
        """See `Backend.build`."""
        return dask_cluster(key, spec, settings, scale.target, credentials)

    def build_groups(
        self, key: RunId, spec: FlowRunSpec, settings: Settings, credentials: str, groups: Sequence[Group]
    ) -> list[Object]:
        """See `Backend.build_groups`."""
        named = [(WorkerGroup(**dict(group.workers) | {"name": group.name}), group.scale.target) for group in groups]
        return [dask_worker_group(key, spec, group, settings, target, credentials) for group, target in named]

    def scalable_group(self, index: int, name: str) -> Scalable:
        """See `Backend.scalable_group`."""
        return _ScalableWorkerGroup()

    def address(self, name: str, namespace: str, settings: Settings, credentials: str | None) -> str:
        """See `Backend.address`."""
        if credentials:
            return scheduler_address(name, namespace, settings)
        return f"tcp://{scheduler_host(name, namespace, settings)}:{ports.DASK_SCHEDULER}"

    def credentials(self, cluster: Object) -> str | None:
        """See `Backend.credentials`."""
        return credentials_in(cluster["spec"]["worker"]["spec"])

    def dashboard(self, name: str, namespace: str, settings: Settings) -> str:
        """See `Backend.dashboard`."""
        return f"http://{scheduler_host(name, namespace, settings)}:{ports.DASK_DASHBOARD}/status"

    def head_selector(self, name: str) -> str:
        """See `Backend.head_selector`."""
        return f"{LABEL_CLUSTER_NAME}={name},{LABEL_DASK_COMPONENT}=scheduler"

    def members(self, name: str) -> None:
        """See `Backend.members`: a Dask client opens all connections itself."""

    def service(self, name: str) -> str:
        """See `Backend.service`."""
        return scheduler_service(name)

    def upstream_has_started(self, observed: Observed) -> bool:
        """See `Scalable.upstream_has_started`: dask-kubernetes creates the scheduler's Deployment first."""
        return bool(observed.deployments)

    def invalid(self, cluster: Object) -> str | None:
        """See `Backend.invalid`. dask-kubernetes reports only one error, an invalid name, and no message."""
        if (cluster.get("status") or {}).get("phase") == "Error":
            return f"dask-kubernetes refuses DaskCluster {cluster['metadata']['name']} (phase Error)"
        return None

    def without_pods(
        self, cluster: Object, components: Collection[str], has_deployments: bool, groups: Sequence[Object]
    ) -> list[Object]:
        """See `Backend.without_pods`. Worker groups lack pods when the scheduler exists and no worker does."""
        if not has_deployments:
            return [cluster]
        lacks_workers = names.COMPONENT_WORKER not in components and self.requested_workers(cluster) > 0
        return list(groups) if lacks_workers else []


class _ScalableWorkerGroup(_Replicas):
    """Implements `Scalable` for a DaskWorkerGroup."""

    resource: Resource = DASK_WORKER_GROUP

    def upstream_has_started(self, observed: Observed) -> bool:
        """Return whether the group exists: dask-kubernetes creates nothing for a group without workers."""
        return observed.cluster is not None
