"""The Deployment of a shared cluster's keeper: one pod that reports demand, retires idle workers and cleans up.

The keeper sends code to the scheduler by value, so both need the same Python: the keeper runs in the cluster's image.
Its ServiceAccount has rights to the cluster's root Lease only.
"""

from __future__ import annotations

from typing import Any

from flowcluster_api import driver, keeper, names
from flowcluster_api.literals import literal
from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.desired.credentials import DASK, with_credentials
from flowcluster_operator.desired.metadata import child_metadata
from flowcluster_operator.desired.pods import cluster_image, container
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.plan import Create
from flowcluster_operator.resources import DEPLOYMENT, LEASE, ROLE, ROLE_BINDING, SERVICE_ACCOUNT, Object, Resource
from flowcluster_operator.settings import Settings

_COMMAND = ["python", "-m", "flowcluster.agent.keeper"]
_RESOURCES = {"requests": {"cpu": "20m", "memory": "100Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}}


def keeper_deployment(key: RunId, spec: FlowRunSpec, settings: Settings, credentials: str, address: str) -> Object:
    """Return the Deployment of the keeper.

    Args:
        key: the shared cluster.
        spec: of the shared cluster, in the form of `shared_specs.view`.
        settings: of the operator.
        credentials: name of the Secret with the cluster's credentials.
        address: of the scheduler or head.
    """
    assert spec.cluster is not None
    kind = spec.cluster.kind or ""
    body = container(names.COMPONENT_KEEPER, cluster_image(spec, settings), _COMMAND, settings)
    environment = {
        driver.ENV_NAMESPACE: key.namespace,
        driver.ENV_CLUSTER_KIND: kind,
        driver.ENV_CLUSTER_ADDRESS: literal(address),
        keeper.ENV_LEASE: names.child_name(key.name, key.uid),
        keeper.ENV_SHARED_CLUSTER: key.name,
        keeper.ENV_SHARED_CLUSTER_UID: key.uid,
        "PYTHONUNBUFFERED": "1",
    }
    body["env"] = [{"name": name, "value": value} for name, value in environment.items()]
    body["env"].append({"name": driver.ENV_POD_NAME, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    body["resources"] = _RESOURCES
    pod = {
        "serviceAccountName": names.keeper_name(key.name, key.uid),
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": settings.cluster_grace_seconds,
        "containers": [{**body, "terminationMessagePolicy": "FallbackToLogsOnError"}],
    }
    labels = names.child_labels(key.name, key.uid, names.COMPONENT_KEEPER, key.kind)
    return _object(DEPLOYMENT, key) | {
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {names.LABEL_RUN_UID: key.uid, names.LABEL_COMPONENT: names.COMPONENT_KEEPER}},
            "template": {
                "metadata": {"labels": labels},
                "spec": with_credentials(pod, credentials, DASK if kind == "Dask" else {}),
            },
        },
    }


def keeper_access(key: RunId) -> list[Create]:
    """Return the ServiceAccount of the keeper, and its rights to the cluster's Lease."""
    name = names.keeper_name(key.name, key.uid)
    lease: dict[str, Any] = {
        "apiGroups": [LEASE.group],
        "resources": [LEASE.plural],
        "resourceNames": [names.child_name(key.name, key.uid)],
        "verbs": ["get", "patch"],
    }
    binding = {
        "roleRef": {"apiGroup": ROLE.group, "kind": ROLE.kind, "name": name},
        "subjects": [{"kind": SERVICE_ACCOUNT.kind, "name": name, "namespace": key.namespace}],
    }
    return [
        Create(SERVICE_ACCOUNT, _object(SERVICE_ACCOUNT, key)),
        Create(ROLE, _object(ROLE, key) | {"rules": [lease]}),
        Create(ROLE_BINDING, _object(ROLE_BINDING, key) | binding),
    ]


def _object(resource: Resource, key: RunId) -> Object:
    metadata = {**child_metadata(key, names.COMPONENT_KEEPER), "name": names.keeper_name(key.name, key.uid)}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
