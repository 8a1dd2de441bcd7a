"""Group, labels and the names of what belongs to a run.

Names carry a hash of the run's UID, so that a run never meets the children of an earlier run of the
same name while those are still being deleted.
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

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY = "flowcluster"
#: Name of the FlowRun that a child belongs to, for people and `kubectl -l`.
LABEL_RUN = f"{GROUP}/flow-run"
#: UID of that FlowRun. It narrows what the operator watches, and proves nothing: anyone can copy a label.
LABEL_RUN_UID = f"{GROUP}/uid"
#: Which part of the run an object is: one of the `COMPONENT_*` values.
LABEL_COMPONENT = f"{GROUP}/component"

#: Class of the operator that handles the run, on its children; absent where the run names none.
LABEL_OPERATOR_CLASS = f"{GROUP}/operator-class"

COMPONENT_CLUSTER = "cluster"
COMPONENT_DRIVER = "driver"
COMPONENT_SCHEDULER = "scheduler"
COMPONENT_HEAD = "head"
COMPONENT_WORKER = "worker"

#: What leads a cluster, by its kind.
LEADERS = {"Dask": COMPONENT_SCHEDULER, "Ray": COMPONENT_HEAD}

#: Characters of a child's name, 53 with KubeRay. dask-kubernetes appends `-default-worker-` and ten characters to it
#: and the result must still be a label value of at most 63.
CHILD_NAME_LIMIT = 37
#: Ten digits are 40 bits: two of 1,000 runs with one stem share a name with a probability of 5e-7.
_HASH_LENGTH = 10


@functools.lru_cache(maxsize=4096)  # a pass of the operator needs it some ten times
def child_name(run_name: str, run_uid: str) -> str:
    """The name of the run's cluster and Job: a DNS label of at most `CHILD_NAME_LIMIT` characters.

    The same run always gives the same name; another run, also of the same name, another one.
    """
    digest = hashlib.sha256(run_uid.encode()).hexdigest()[:_HASH_LENGTH]
    stem = re.sub(r"[^a-z0-9-]+", "-", run_name.lower())[: CHILD_NAME_LIMIT - _HASH_LENGTH - 1].strip("-")
    if not stem or not stem[0].isalpha():
        stem = f"r{stem}"[: CHILD_NAME_LIMIT - _HASH_LENGTH - 1].rstrip("-")
    return f"{stem}-{digest}"


def driver_name(run_name: str, run_uid: str) -> str:
    """The name of the driver's account and its rights. KubeRay names those of its autoscaler like the cluster."""
    return f"{child_name(run_name, run_uid)}-{COMPONENT_DRIVER}"


def child_labels(run_name: str, run_uid: str, component: str) -> dict[str, str]:
    """The labels that every child of a run carries."""
    return {
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_RUN: run_name,
        LABEL_RUN_UID: run_uid,
        LABEL_COMPONENT: component,
    }


def reference(name: str, uid: str) -> dict[str, str]:
    """What stands in the ``ownerReferences`` of whatever a FlowRun owns."""
    return {"apiVersion": API_VERSION, "kind": KIND, "name": name, "uid": uid}
