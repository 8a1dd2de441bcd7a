"""Ray clusters: RayCluster resources, served by the stock KubeRay operator."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from flowcluster_api import names, ports
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.backends.base import Scalable
from flowcluster_operator.desired.ray_cluster import (
    GROUP,
    head_host,
    head_service,
    ray_cluster,
)
from flowcluster_operator.model.conditions import true_condition
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.workers import Group, Scale
from flowcluster_operator.resources import RAY_CLUSTER, Object, Resource
from flowcluster_operator.settings import Settings

#: KubeRay's label on the pods of a cluster. Its value is the name of the cluster.
_LABEL_CLUSTER = "ray.io/cluster"


class RayBackend:
    """Implements `Backend` for ``ray.io/v1``."""

    kind = "Ray"
    resource: Resource = RAY_CLUSTER
    replaces_head = False
    scales_itself = True
    podless_seconds = 1.0

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
        return ray_cluster(key, spec, settings, scale, credentials, groups)

    def build_groups(
        self, key: RunId, spec: FlowRunSpec, settings: Settings, credentials: str, groups: Sequence[Group]
    ) -> list[Object]:
        """See `Backend.build_groups`: the RayCluster contains them."""
        return []

    def scalable_group(self, index: int, name: str) -> Scalable:
        """See `Backend.scalable_group`."""
        return _ScalableGroup(index + 1, name)

    def address(self, name: str, namespace: str, settings: Settings, credentials: str | None) -> str:
        """See `Backend.address`. It is that of the head's GCS, because drivers join the cluster as nodes."""
        return f"{head_host(name, namespace, settings)}:{ports.RAY_GCS}"

    def credentials(self, cluster: Object) -> str | None:
        """See `Backend.credentials`: the Secret with the token. By default, KubeRay names it like the cluster."""
        auth = cluster["spec"].get("authOptions")
        if not auth or auth.get("mode") == "disabled":
            return None
        return str(auth.get("secretName") or cluster["metadata"]["name"])

    def dashboard(self, name: str, namespace: str, settings: Settings) -> str:
        """See `Backend.dashboard`."""
        return f"http://{head_host(name, namespace, settings)}:{ports.RAY_DASHBOARD}"

    def head_selector(self, name: str) -> str:
        """See `Backend.head_selector`: KubeRay's own labels."""
        return f"{_LABEL_CLUSTER}={name},ray.io/node-type=head"

    def members(self, name: str) -> dict[str, str]:
        """See `Backend.members`: a driver is a node of the cluster, which the head and the workers connect to."""
        return {_LABEL_CLUSTER: name}

    def service(self, name: str) -> str:
        """See `Backend.service`."""
        return head_service(name)

    def requested_workers(self, cluster: Object) -> int:
        """See `Scalable.requested_workers`: the number that the autoscaler wrote last."""
        return _OWN_WORKERS.requested_workers(cluster)

    def scale_patch(self, cluster: Object, scale: Scale) -> list[Object]:
        """See `Scalable.scale_patch`. It is a JSON patch of the bounds: the autoscaler writes the same group."""
        return _OWN_WORKERS.scale_patch(cluster, scale)

    def upstream_has_started(self, observed: Observed) -> bool:
        """See `Scalable.upstream_has_started`. KubeRay writes conditions in its first pass, even if that fails."""
        return _OWN_WORKERS.upstream_has_started(observed)

    def accepts_scaling(self, cluster: Object) -> bool:
        """See `Scalable.accepts_scaling`."""
        return _OWN_WORKERS.accepts_scaling(cluster)

    def invalid(self, cluster: Object) -> str | None:
        """See `Backend.invalid`: why KubeRay creates no pod. KubeRay reports errors in a spec only in Events."""
        condition = true_condition(cluster, "ReplicaFailure")
        return f"no pod for the cluster: {condition.get('message') or condition.get('reason')}" if condition else None

    def without_pods(
        self, cluster: Object, components: Collection[str], has_deployments: bool, groups: Sequence[Object]
    ) -> list[Object]:
        """See `Backend.without_pods`."""
        return [] if names.COMPONENT_HEAD in components else [cluster]


class _ScalableGroup:
    """Implements `Scalable` for the worker group of that index and name in a RayCluster."""

    resource: Resource = RAY_CLUSTER

    def __init__(self, index: int, name: str) -> None:
        self._index, self._name = index, name

    def requested_workers(self, cluster: Object) -> int:
        """See `Scalable.requested_workers`."""
        group = cluster["spec"]["workerGroupSpecs"][self._index]
        within = min(group.get("replicas", 0), group["maxReplicas"])
        return int(max(within, group["minReplicas"]))

    def scale_patch(self, cluster: Object, scale: Scale) -> list[Object]:
        """See `Scalable.scale_patch`. The API server rejects the patch if another group has this index by then."""
        group, path = cluster["spec"]["workerGroupSpecs"][self._index], f"/spec/workerGroupSpecs/{self._index}"
        bounds = {"minReplicas": scale.minimum, "maxReplicas": scale.maximum}
        changes = [
            {"op": "replace", "path": f"{path}/{field}", "value": value}
            for field, value in bounds.items()
            if group.get(field) != value
        ]
        return [{"op": "test", "path": f"{path}/groupName", "value": self._name}, *changes] if changes else []

    def upstream_has_started(self, observed: Observed) -> bool:
        """See `Scalable.upstream_has_started`."""
        return bool(observed.head_pods()) or bool(((observed.cluster or {}).get("status") or {}).get("conditions"))

    def accepts_scaling(self, cluster: Object) -> bool:
        """See `Scalable.accepts_scaling`. KubeRay compares the number with the workers in each of its passes."""
        return True


#: The workers of `spec.cluster.workers`: they are the first group.
_OWN_WORKERS = _ScalableGroup(0, GROUP)
