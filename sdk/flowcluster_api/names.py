"""The API group, and the labels and names of objects that belong to a run or to a shared cluster.

Names contain a hash of the owner's UID. So a new owner has other names than the children of a deleted owner of the same
name, which can still exist for some time.
"""

from __future__ import annotations

import functools
import hashlib
import re

GROUP = "flowcluster.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "FlowRun"
PLURAL = "flowruns"
SHORT_NAME = "fr"
SHARED_KIND = "SharedCluster"
SHARED_PLURAL = "sharedclusters"
SHARED_SHORT_NAME = "fsc"

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY = "flowcluster"
#: Name of the FlowRun that a child belongs to, for people and `kubectl -l`.
LABEL_RUN = f"{GROUP}/flow-run"
#: Name of the SharedCluster that a child belongs to; in place of `LABEL_RUN`.
LABEL_SHARED = f"{GROUP}/shared-cluster"
#: UID of that owner. The operator selects by it what it watches. It does not prove ownership: anyone can copy a label.
LABEL_RUN_UID = f"{GROUP}/uid"
#: The part of the run that an object is: one of the `COMPONENT_*` values.
LABEL_COMPONENT = f"{GROUP}/component"

#: On pods and Deployments of workers: their worker group; absent for the workers of `spec.workers`.
LABEL_WORKER_GROUP = f"{GROUP}/worker-group"
#: On the DaskCluster or RayCluster of a SharedCluster: a hash of the fields from which the operator built it.
LABEL_TEMPLATE = f"{GROUP}/template"
#: On driver pods of other runs: UID of the SharedCluster that they use. Its network policy admits them.
LABEL_USES = f"{GROUP}/uses"
#: On the Job of a run that uses a SharedCluster of another namespace: name of the Secret in that namespace from which
#: the run's own Secret was copied.
LABEL_CREDENTIALS_OF = f"{GROUP}/credentials-of"
#: Class of the operator that handles the run, on its children; absent where the run names none.
LABEL_OPERATOR_CLASS = f"{GROUP}/operator-class"

COMPONENT_CLUSTER = "cluster"
COMPONENT_DRIVER = "driver"
COMPONENT_SCHEDULER = "scheduler"
COMPONENT_HEAD = "head"
COMPONENT_WORKER = "worker"
COMPONENT_KEEPER = "keeper"
#: The pod of `helm test` for a SharedCluster. It has no UID of an owner: the chart does not know it.
COMPONENT_TEST = "test"

#: The label with the name of the owner, by the owner's kind.
OWNER_LABELS = {KIND: LABEL_RUN, SHARED_KIND: LABEL_SHARED}

#: The component of a cluster's scheduler or head, by the cluster's kind.
HEAD_COMPONENTS = {"Dask": COMPONENT_SCHEDULER, "Ray": COMPONENT_HEAD}

#: Maximum characters of a child's name. dask-kubernetes appends `-default-worker-` and ten characters, and the result
#: must be a label value of at most 63.
CHILD_NAME_LIMIT = 37
#: Ten digits are 40 bits: of 1,000 runs with one stem, two share a name with a probability of 5e-7.
_HASH_LENGTH = 10
#: 20 bits: two starts of one run share a name with a probability of 1e-6.
_START_HASH_LENGTH = 5
#: Maximum characters of a worker group in the name of its DaskWorkerGroup: the length of `default`.
_GROUP_LENGTH = 7


@functools.lru_cache(maxsize=4096)  # each pass of the operator calls it about ten times
def child_name(run_name: str, run_uid: str) -> str:
    """Return the name of the run's Lease, Job and DaskCluster: a DNS label of at most `CHILD_NAME_LIMIT` characters.

    The name is always the same for one run, and differs between two runs of the same name.
    """
    digest = hashlib.sha256(run_uid.encode()).hexdigest()[:_HASH_LENGTH]
    stem = re.sub(r"[^a-z0-9-]+", "-", run_name.lower())[: CHILD_NAME_LIMIT - _HASH_LENGTH - 1].strip("-")
    if not stem or not stem[0].isalpha():
        stem = f"r{stem}"[: CHILD_NAME_LIMIT - _HASH_LENGTH - 1].rstrip("-")
    return f"{stem}-{digest}"


def ray_cluster_name(run_name: str, run_uid: str, lease_uid: str) -> str:
    """Return the name of the RayCluster of one start of a run: the child name, and a hash of that start's Lease.

    Each start has a Lease of its own. KubeRay remembers by the name of a RayCluster which pods it created and deleted.
    If it is some seconds behind, it does not notice that the RayCluster of an earlier start was deleted, and creates no
    pods for five minutes for another one of the same name. KubeRay accepts 53 characters.
    """
    digest = hashlib.sha256(lease_uid.encode()).hexdigest()[:_START_HASH_LENGTH]
    return f"{child_name(run_name, run_uid)}-{digest}"


def driver_name(run_name: str, run_uid: str) -> str:
    """Return the name of the driver's ServiceAccount, Role and RoleBinding.

    It differs from the names of clusters: KubeRay gives the name of a RayCluster to these objects of its autoscaler.
    """
    return f"{child_name(run_name, run_uid)}-{COMPONENT_DRIVER}"


def keeper_name(cluster_name: str, cluster_uid: str) -> str:
    """Return the name of a shared cluster's keeper, and of its ServiceAccount, Role and RoleBinding."""
    return f"{child_name(cluster_name, cluster_uid)}-{COMPONENT_KEEPER}"


def group_name(cluster: str, group: str) -> str:
    """Return the name of the DaskWorkerGroup of a worker group.

    dask-kubernetes appends `-worker-` and ten characters, and the result must be a label value. So a hash replaces a
    group name of more than seven characters.

    Args:
        cluster: name of the DaskCluster.
        group: name of the worker group.
    """
    if len(group) > _GROUP_LENGTH:
        group = hashlib.sha256(group.encode()).hexdigest()[:_GROUP_LENGTH]
    return f"{cluster}-{group}"


def child_labels(name: str, uid: str, component: str, kind: str = KIND) -> dict[str, str]:
    """Return the labels of a child.

    Args:
        name: of the owner.
        uid: of the owner.
        component: one of the `COMPONENT_*` values.
        kind: of the owner.
    """
    return {
        LABEL_MANAGED_BY: MANAGED_BY,
        OWNER_LABELS[kind]: name,
        LABEL_RUN_UID: uid,
        LABEL_COMPONENT: component,
    }


def reference(name: str, uid: str, kind: str = KIND) -> dict[str, str]:
    """Return an item of ``ownerReferences`` that refers to a FlowRun or SharedCluster."""
    return {"apiVersion": API_VERSION, "kind": kind, "name": name, "uid": uid}
