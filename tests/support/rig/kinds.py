"""The kinds of objects that a run or a shared cluster can consist of, and their paths on the API server."""

from __future__ import annotations

import dataclasses

from flowcluster_api import names


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of object.

    Attributes:
        name: such as ``Pod``.
        group: API group and version as in an object's apiVersion, such as ``apps/v1``.
        plural: the last part of its collection's path.
        whole: whether the rig needs more than an object's metadata.
    """

    name: str
    group: str
    plural: str
    whole: bool = False

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of a collection, or of an object."""
        root = f"/apis/{self.group}" if "/" in self.group else f"/api/{self.group}"
        parts = [root, *(("namespaces", namespace) if namespace else ()), self.plural]
        return "/".join([*parts, *(part for part in (name, subresource) if part)])


FLOW_RUN = Kind(names.KIND, names.API_VERSION, names.PLURAL, whole=True)
SHARED_CLUSTER = Kind(names.SHARED_KIND, names.API_VERSION, names.SHARED_PLURAL, whole=True)
POD = Kind("Pod", "v1", "pods", whole=True)
DASK_CLUSTER = Kind("DaskCluster", "kubernetes.dask.org/v1", "daskclusters")
RAY_CLUSTER = Kind("RayCluster", "ray.io/v1", "rayclusters")
DEPLOYMENT = Kind("Deployment", "apps/v1", "deployments")
LEASE = Kind("Lease", "coordination.k8s.io/v1", "leases")
SERVICE = Kind("Service", "v1", "services")
SECRET = Kind("Secret", "v1", "secrets")
JOB = Kind("Job", "batch/v1", "jobs")
NETWORK_POLICY = Kind("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies")
NAMESPACE = Kind("Namespace", "v1", "namespaces")
NODE = Kind("Node", "v1", "nodes")
CLUSTER_ROLE = Kind("ClusterRole", "rbac.authorization.k8s.io/v1", "clusterroles")
CLUSTER_ROLE_BINDING = Kind("ClusterRoleBinding", "rbac.authorization.k8s.io/v1", "clusterrolebindings")
CRD = Kind("CustomResourceDefinition", "apiextensions.k8s.io/v1", "customresourcedefinitions")

#: The cluster resource of each kind of cluster.
CLUSTERS = {"Dask": DASK_CLUSTER, "Ray": RAY_CLUSTER}
#: Kinds that users create, and that own all other objects.
OWNERS = (FLOW_RUN, SHARED_CLUSTER)
#: Owners, and kinds that can belong to one. Kubernetes Events are reports, not state.
KINDS = (
    FLOW_RUN,
    SHARED_CLUSTER,
    POD,
    DASK_CLUSTER,
    Kind("DaskWorkerGroup", "kubernetes.dask.org/v1", "daskworkergroups"),
    Kind("DaskAutoscaler", "kubernetes.dask.org/v1", "daskautoscalers"),
    RAY_CLUSTER,
    JOB,
    DEPLOYMENT,
    Kind("ReplicaSet", "apps/v1", "replicasets"),
    SERVICE,
    SECRET,
    LEASE,
    Kind("ConfigMap", "v1", "configmaps"),
    Kind("ServiceAccount", "v1", "serviceaccounts"),
    Kind("Role", "rbac.authorization.k8s.io/v1", "roles"),
    Kind("RoleBinding", "rbac.authorization.k8s.io/v1", "rolebindings"),
    NETWORK_POLICY,
    Kind("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets"),
)
#: Objects that Kubernetes itself creates in every namespace.
GIVEN = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
