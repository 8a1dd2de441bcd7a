"""Dask clusters: DaskCluster resources, served by the stock dask-kubernetes operator."""

from __future__ import annotations

from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.dask_cluster import (
    DASHBOARD_PORT,
    LABEL_CLUSTER_NAME,
    LABEL_DASK_COMPONENT,
    SCHEDULER_PORT,
    dask_cluster,
    scheduler_address,
    scheduler_host,
    scheduler_service,
)  # fmt: skip
from flowcluster_operator.desired.tls import keys_in
from flowcluster_operator.model import Key, Observed, Scale
from flowcluster_operator.resources import DASK_CLUSTER, LAST_HANDLED, Object, Resource
from flowcluster_operator.settings import Settings


class DaskBackend:
    """Implements `Backend` for ``kubernetes.dask.org/v1``."""

    kind = "Dask"
    resource: Resource = DASK_CLUSTER
    scales_itself = False

    def build(self, key: Key, spec: FlowRunSpec, settings: Settings, scale: Scale, keys: str) -> Object:
        """See `Backend.build`."""
        return dask_cluster(key, spec, settings, scale.target, keys)

    def address(self, name: str, namespace: str, settings: Settings, keys: str | None) -> str:
        """See `Backend.address`."""
        if keys:
            return scheduler_address(name, namespace, settings)
        return f"tcp://{scheduler_host(name, namespace, settings)}:{SCHEDULER_PORT}"

    def keys(self, cluster: Object) -> str | None:
        """See `Backend.keys`."""
        return keys_in(cluster["spec"]["worker"]["spec"])

    def dashboard(self, name: str, namespace: str, settings: Settings) -> str:
        """See `Backend.dashboard`."""
        return f"http://{scheduler_host(name, namespace, settings)}:{DASHBOARD_PORT}/status"

    def leader_selector(self, name: str) -> str:
        """See `Backend.leader_selector`."""
        return f"{LABEL_CLUSTER_NAME}={name},{LABEL_DASK_COMPONENT}=scheduler"

    def members(self, name: str) -> None:
        """See `Backend.members`: a Dask client opens all connections itself."""

    def service(self, name: str) -> str:
        """See `Backend.service`."""
        return scheduler_service(name)

    def workers(self, cluster: Object) -> int:
        """See `Backend.workers`."""
        return int(cluster["spec"]["worker"].get("replicas", 0))

    def sized(self, cluster: Object, scale: Scale) -> Object:
        """See `Backend.sized`."""
        return {"spec": {"worker": {"replicas": scale.target}}}

    def acted_on(self, observed: Observed) -> bool:
        """The scheduler's Deployment is the first thing that dask-kubernetes makes."""
        return bool(observed.deployments)

    def notices_numbers(self, cluster: Object) -> bool:
        """dask-kubernetes loses another number that comes while it makes the parts of a new cluster.

        kopf takes it for a part of the creation until it has written its mark. Of 12 clusters whose number changed as
        soon as they had a scheduler, all kept no workers; of 12 whose number changed after the mark, none.
        """
        return LAST_HANDLED in (cluster["metadata"].get("annotations") or {})

    def invalid(self, cluster: Object) -> str | None:
        """dask-kubernetes knows one error, a name that it cannot use, and gives no text for it."""
        if (cluster.get("status") or {}).get("phase") == "Error":
            return f"dask-kubernetes refuses DaskCluster {cluster['metadata']['name']} (phase Error)"
        return None
