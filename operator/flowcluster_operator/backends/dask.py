"""Dask clusters: DaskCluster resources, served by the stock dask-kubernetes operator."""

from __future__ import annotations

from collections.abc import Sequence

from flowcluster_api.v1alpha1 import FlowRunSpec, WorkerGroup
from flowcluster_operator.backends.base import Sizes
from flowcluster_operator.desired.dask_cluster import (
    DASHBOARD_PORT,
    LABEL_CLUSTER_NAME,
    LABEL_DASK_COMPONENT,
    SCHEDULER_PORT,
    dask_cluster,
    dask_worker_group,
    scheduler_address,
    scheduler_host,
    scheduler_service,
)  # fmt: skip
from flowcluster_operator.desired.tls import keys_in
from flowcluster_operator.model import Group, Key, Observed, Scale
from flowcluster_operator.resources import DASK_CLUSTER, DASK_WORKER_GROUP, LAST_HANDLED, Object, Resource
from flowcluster_operator.settings import Settings


class DaskBackend:
    """Implements `Backend` for ``kubernetes.dask.org/v1``."""

    kind = "Dask"
    resource: Resource = DASK_CLUSTER
    replaces_leader = True
    scales_itself = False

    def build(
        self, key: Key, spec: FlowRunSpec, settings: Settings, scale: Scale, keys: str, groups: Sequence[Group] = ()
    ) -> Object:
        """See `Backend.build`."""
        return dask_cluster(key, spec, settings, scale.target, keys)

    def build_groups(
        self, key: Key, spec: FlowRunSpec, settings: Settings, keys: str, groups: Sequence[Group]
    ) -> list[Object]:
        """See `Backend.build_groups`."""
        named = [(WorkerGroup(**dict(group.workers) | {"name": group.name}), group.scale.target) for group in groups]
        return [dask_worker_group(key, spec, group, settings, target, keys) for group, target in named]

    def group_sizes(self, number: int, name: str) -> Sizes:
        """See `Backend.group_sizes`."""
        return _WorkerGroupSizes()

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
        """See `_is_handled`."""
        return _is_handled(cluster)

    def invalid(self, cluster: Object) -> str | None:
        """dask-kubernetes knows one error, a name that it cannot use, and gives no text for it."""
        if (cluster.get("status") or {}).get("phase") == "Error":
            return f"dask-kubernetes refuses DaskCluster {cluster['metadata']['name']} (phase Error)"
        return None


class _WorkerGroupSizes:
    """Implements `Sizes` for a DaskWorkerGroup."""

    resource: Resource = DASK_WORKER_GROUP

    def workers(self, cluster: Object) -> int:
        """See `Sizes.workers`."""
        return int(cluster["spec"]["worker"].get("replicas", 0))

    def sized(self, cluster: Object, scale: Scale) -> Object:
        """See `Sizes.sized`."""
        return {"spec": {"worker": {"replicas": scale.target}}}

    def acted_on(self, observed: Observed) -> bool:
        """Whether the group exists: dask-kubernetes makes nothing of a group without workers."""
        return observed.cluster is not None

    def notices_numbers(self, cluster: Object) -> bool:
        """See `_is_handled`: dask-kubernetes handles a DaskWorkerGroup as it does a DaskCluster."""
        return _is_handled(cluster)


def _is_handled(obj: Object) -> bool:
    """Return whether dask-kubernetes has made the parts of a new object, and so acts on another number of workers.

    kopf takes a number that comes earlier for a part of the creation, until it has written its mark. Of 12 clusters
    whose number changed as soon as they had a scheduler, all kept no workers; of 12 whose number changed after the
    mark, none.
    """
    return LAST_HANDLED in (obj["metadata"].get("annotations") or {})
