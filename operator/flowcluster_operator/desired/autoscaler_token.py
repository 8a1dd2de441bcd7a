"""The token by which Ray's autoscaler changes its RayCluster. Only its own container has it.

The autoscaler runs in the pod of the Ray head, beside users' code. KubeRay's Role lets its account patch every pod
and every RayCluster of the namespace. So the pod mounts no token of its account; a volume has one that only the
autoscaler's container mounts.
"""

from __future__ import annotations

from typing import Any

from flowcluster_operator.errors import TemplateError

_VOLUME = "flowcluster-autoscaler-token"
#: Path where clients in a pod read the token.
_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
#: The kubelet's own validity of tokens: an hour and some seconds. It replaces the token in time.
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
        TemplateError: a container of the template mounts that volume, or the template has one of that name.
    """
    pod = template["spec"]
    volumes = pod.get("volumes") or []
    containers = [*pod["containers"], *(pod.get("initContainers") or [])]
    mounted = [mount for container in containers for mount in container.get("volumeMounts") or []]
    if any(item.get("name") == _VOLUME for item in [*volumes, *mounted] if isinstance(item, dict)):
        raise TemplateError(f"spec.cluster.scheduler.template: the volume {_VOLUME} is the autoscaler's")
    return {**template, "spec": {**pod, "volumes": [*volumes, {"name": _VOLUME, "projected": {"sources": _SOURCES}}]}}
