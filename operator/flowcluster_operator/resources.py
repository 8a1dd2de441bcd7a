"""The kinds of objects that the operator reads and writes, and where the API server keeps them."""

from __future__ import annotations

import dataclasses
from typing import Any

from flowcluster_api import names


@dataclasses.dataclass(frozen=True, eq=False)
class Resource:
    """One kind. `group` is empty for the core group. Each kind has one instance, so identity compares kinds."""

    group: str
    version: str
    kind: str
    plural: str

    @property
    def api_version(self) -> str:
        """The apiVersion of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of an object, or of the collection where there is no name."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)


FLOW_RUN = Resource(names.GROUP, names.VERSION, names.KIND, names.PLURAL)
SHARED_CLUSTER = Resource(names.GROUP, names.VERSION, names.SHARED_KIND, names.SHARED_PLURAL)
DASK_CLUSTER = Resource("kubernetes.dask.org", "v1", "DaskCluster", "daskclusters")
DASK_WORKER_GROUP = Resource("kubernetes.dask.org", "v1", "DaskWorkerGroup", "daskworkergroups")
RAY_CLUSTER = Resource("ray.io", "v1", "RayCluster", "rayclusters")
JOB = Resource("batch", "v1", "Job", "jobs")
POD = Resource("", "v1", "Pod", "pods")
DEPLOYMENT = Resource("apps", "v1", "Deployment", "deployments")
REPLICA_SET = Resource("apps", "v1", "ReplicaSet", "replicasets")
SERVICE = Resource("", "v1", "Service", "services")
LEASE = Resource("coordination.k8s.io", "v1", "Lease", "leases")
EVENT = Resource("", "v1", "Event", "events")
SERVICE_ACCOUNT = Resource("", "v1", "ServiceAccount", "serviceaccounts")
ROLE = Resource("rbac.authorization.k8s.io", "v1", "Role", "roles")
ROLE_BINDING = Resource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
NETWORK_POLICY = Resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")

SECRET = Resource("", "v1", "Secret", "secrets")
CONFIG_MAP = Resource("", "v1", "ConfigMap", "configmaps")
#: Kinds that give a driver or a keeper its rights.
ACCESS = (SERVICE_ACCOUNT, ROLE, ROLE_BINDING)

#: Kinds that upstream operators and controllers create for a cluster resource, besides Deployments and pods. They may
#: create one while the cluster resource is being deleted, and the garbage collector may then miss it.
UPSTREAM_CHILDREN = (DASK_WORKER_GROUP, SERVICE, REPLICA_SET)
#: Kinds that the operator watches: owners, and children by the labels of their owner.
WATCHED = (
    FLOW_RUN, SHARED_CLUSTER, DASK_CLUSTER, RAY_CLUSTER, JOB, POD, DEPLOYMENT, LEASE, NETWORK_POLICY, *UPSTREAM_CHILDREN
)  # fmt: skip
#: Annotation that kopf, and so dask-kubernetes, writes when it has handled a new object. Only then does it notice
#: changes of the object.
LAST_HANDLED = "kopf.zalando.org/last-handled-configuration"
#: Kinds that users create: each object owns children.
OWNERS = {resource.kind: resource for resource in (FLOW_RUN, SHARED_CLUSTER)}
#: Kinds of cluster resources.
CLUSTERS = (DASK_CLUSTER, RAY_CLUSTER)
#: By the owner's kind: kinds of which the operator creates one object for the owner. Its name follows from the owner's
#: name and UID, that of a RayCluster also from the UID of the Lease (`desired.metadata.root_name`).
ROOTS = {
    FLOW_RUN.kind: (*CLUSTERS, JOB, LEASE, *ACCESS),
    SHARED_CLUSTER.kind: (*CLUSTERS, DEPLOYMENT, LEASE, *ACCESS),
}

BY_KIND = {resource.kind: resource for resource in (*WATCHED, *ACCESS)}

Object = dict[str, Any]
