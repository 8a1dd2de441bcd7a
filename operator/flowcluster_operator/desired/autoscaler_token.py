"""The token by which Ray's autoscaler changes its RayCluster. Only the autoscaler's container mounts it.

The autoscaler runs in the pod of the Ray head, beside users' code. KubeRay's Role lets the pod's ServiceAccount patch
every pod and every RayCluster of the namespace. So Kubernetes mounts no token into the pod's containers by itself. A
volume of the pod has a token, and only the autoscaler's container mounts that volume.
"""

from __future__ import annotations

from typing import Any

from flowcluster_operator.errors import TemplateError

_VOLUME = "flowcluster-autoscaler-token"
#: Path where clients in a pod read the token.
_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
#: Validity of the token: that of the tokens which Kubernetes mounts by itself. The kubelet replaces it before it
#: expires.
_SECONDS = 3607

#: For the autoscaler's container.
TOKEN_MOUNT: dict[str, Any] = {"name": _VOLUME, "mountPath": _PATH, "readOnly": True}
_SOURCES = [
    {"serviceAccountToken": {"path": "token", "expirationSeconds": _SECONDS}},
    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
]


def with_autoscaler_token(template: dict[str, Any]) -> dict[str, Any]:
    """Return the head's template with the volume.

    Raises:
        TemplateError: the template has a volume of that name, or a container of the template mounts one.
    """
    pod = template["spec"]
    volumes = pod.get("volumes") or []
    containers = [*pod["containers"], *(pod.get("initContainers") or [])]
    mounted = [mount for container in containers for mount in container.get("volumeMounts") or []]
    if any(item.get("name") == _VOLUME for item in [*volumes, *mounted] if isinstance(item, dict)):
        raise TemplateError(f"spec.cluster.scheduler.template: the volume {_VOLUME} is reserved for Ray's autoscaler")
    return {**template, "spec": {**pod, "volumes": [*volumes, {"name": _VOLUME, "projected": {"sources": _SOURCES}}]}}
