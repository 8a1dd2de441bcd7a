"""Ray clusters: RayCluster resources, served by the stock KubeRay operator."""

from __future__ import annotations

from collections.abc import Sequence

from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.backends.base import Sizes
from flowcluster_operator.desired.ray_cluster import (
    DASHBOARD_PORT,
    GCS_PORT,
    GROUP,
    head_host,
    head_service,
    ray_cluster,
)
from flowcluster_operator.model import Group, Key, Observed, Scale
from flowcluster_operator.resources import RAY_CLUSTER, Object, Resource
from flowcluster_operator.settings import Settings

#: KubeRay's label of a cluster's pods with the name of the cluster.
_LABEL_CLUSTER = "ray.io/cluster"


class RayBackend:
    """Implements `Backend` for ``ray.io/v1``."""

    kind = "Ray"
    resource: Resource = RAY_CLUSTER
    replaces_leader = False
    scales_itself = True

    def build(
        self, key: Key, spec: FlowRunSpec, settings: Settings, scale: Scale, keys: str, groups: Sequence[Group] = ()
    ) -> Object:
        """See `Backend.build`."""
        return ray_cluster(key, spec, settings, scale, keys, groups)

    def build_groups(
        self, key: Key, spec: FlowRunSpec, settings: Settings, keys: str, groups: Sequence[Group]
    ) -> list[Object]:
        """See `Backend.build_groups`: they are in the RayCluster."""
        return []

    def group_sizes(self, number: int, name: str) -> Sizes:
        """See `Backend.group_sizes`."""
        return _GroupSizes(number + 1, name)

    def address(self, name: str, namespace: str, settings: Settings, keys: str | None) -> str:
        """See `Backend.address`: of the head's GCS, for who joins the cluster as a node of it."""
        return f"{head_host(name, namespace, settings)}:{GCS_PORT}"

    def keys(self, cluster: Object) -> str | None:
        """See `Backend.keys`: where the token is; without a name for it, KubeRay takes the cluster's own."""
        auth = cluster["spec"].get("authOptions")
        if not auth or auth.get("mode") == "disabled":
            return None
        return str(auth.get("secretName") or cluster["metadata"]["name"])

    def dashboard(self, name: str, namespace: str, settings: Settings) -> str:
        """See `Backend.dashboard`."""
        return f"http://{head_host(name, namespace, settings)}:{DASHBOARD_PORT}"

    def leader_selector(self, name: str) -> str:
        """See `Backend.leader_selector`: KubeRay's own labels."""
        return f"{_LABEL_CLUSTER}={name},ray.io/node-type=head"

    def members(self, name: str) -> dict[str, str]:
        """See `Backend.members`: a driver is a node of the cluster, which the head and the workers connect to."""
        return {_LABEL_CLUSTER: name}

    def service(self, name: str) -> str:
        """See `Backend.service`."""
        return head_service(name)

    def workers(self, cluster: Object) -> int:
        """See `Sizes.workers`: what the autoscaler has written there."""
        return _OWN_WORKERS.workers(cluster)

    def sized(self, cluster: Object, scale: Scale) -> list[Object]:
        """See `Sizes.sized`: a JSON patch of the bounds, as the autoscaler writes the number into the same group."""
        return _OWN_WORKERS.sized(cluster, scale)

    def acted_on(self, observed: Observed) -> bool:
        """KubeRay writes conditions in its first pass, also where it fails to make a pod."""
        return _OWN_WORKERS.acted_on(observed)

    def notices_numbers(self, cluster: Object) -> bool:
        """See `Sizes.notices_numbers`."""
        return _OWN_WORKERS.notices_numbers(cluster)

    def invalid(self, cluster: Object) -> str | None:
        """Why KubeRay makes no pod; what it thinks of a spec it tells in Events alone."""
        for condition in (cluster.get("status") or {}).get("conditions") or []:
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                return f"no pod for the cluster: {condition.get('message') or condition.get('reason')}"
        return None


class _GroupSizes:
    """Implements `Sizes` for one of the worker groups in a RayCluster."""

    resource: Resource = RAY_CLUSTER

    def __init__(self, index: int, name: str) -> None:
        self._index, self._name = index, name

    def workers(self, cluster: Object) -> int:
        """See `Sizes.workers`."""
        group = cluster["spec"]["workerGroupSpecs"][self._index]
        within = min(group.get("replicas", 0), group["maxReplicas"])
        return int(max(within, group["minReplicas"]))

    def sized(self, cluster: Object, scale: Scale) -> list[Object]:
        """See `Sizes.sized`. The patch fails where another group has this place."""
        group, path = cluster["spec"]["workerGroupSpecs"][self._index], f"/spec/workerGroupSpecs/{self._index}"
        wanted = {"minReplicas": scale.minimum, "maxReplicas": scale.maximum}
        changes = [
            {"op": "replace", "path": f"{path}/{field}", "value": value}
            for field, value in wanted.items()
            if group.get(field) != value
        ]
        return [{"op": "test", "path": f"{path}/groupName", "value": self._name}, *changes] if changes else []

    def acted_on(self, observed: Observed) -> bool:
        """See `Sizes.acted_on`."""
        return bool(observed.leaders()) or bool(((observed.cluster or {}).get("status") or {}).get("conditions"))

    def notices_numbers(self, cluster: Object) -> bool:
        """KubeRay compares the number with what is there in each of its passes."""
        return True


_OWN_WORKERS = _GroupSizes(0, GROUP)
