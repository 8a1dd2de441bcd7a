"""Install the stock KubeRay operator from its Go module, unless another installation of it exists.

Its chart is published separately from the module. If that can be reached, `charts/flowcluster` includes it (see its
README). This module creates the same objects: the module's own CRDs and ClusterRole, and a Deployment as in its chart.
"""

from __future__ import annotations

import pathlib
from typing import Any

import yaml

from tools.cluster import gotools
from tools.cluster.shell import run, succeeds

#: Deployment, ServiceAccount and ClusterRole.
NAME = "kuberay-operator"
_CRD = "rayclusters.ray.io"
_SECURITY = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
_PROBE = {"httpGet": {"path": "/metrics", "port": "http"}, "periodSeconds": 1, "failureThreshold": 60}


def install(kubectl: pathlib.Path, kubeconfig: pathlib.Path, namespace: str, image: str) -> None:
    """Install the operator with that image, or update it, and wait until it runs.

    Do nothing if the CRD exists and this Deployment does not: then another installation runs the operator.

    Raises:
        ToolError: it does not start.
    """
    command: list[str | pathlib.Path] = [kubectl, "--kubeconfig", kubeconfig, "--namespace", namespace]
    is_served = succeeds([*command, "get", "customresourcedefinition", _CRD])
    if is_served and not succeeds([*command, "get", "deployment", NAME]):
        return
    apply = [*command, "apply", "--server-side", "--force-conflicts", "--filename"]
    config = gotools.built("kuberay") / "config"
    run([*apply, config / "crd" / "bases"])
    role = yaml.safe_load((config / "rbac" / "role.yaml").read_text())
    role["metadata"]["name"] = NAME
    run([*apply, "-"], stdin=yaml.safe_dump_all([role, *_ours(namespace, image)]))
    run([*command, "rollout", "status", f"deployment/{NAME}", "--timeout=120s"])


def _ours(namespace: str, image: str) -> list[dict[str, Any]]:
    here = {"name": NAME, "namespace": namespace}
    labels = {"app.kubernetes.io/name": "kuberay", "app.kubernetes.io/component": NAME}
    container = {
        "name": NAME,
        "image": image,
        # The Deployment runs one replica at a time. Without leader election, a new pod does not wait until the lease of
        # the old one expires.
        "args": ["--enable-leader-election=false"],
        # The same as in the values of the chart `flowcluster`.
        "env": [{"name": "ENABLE_INIT_CONTAINER_INJECTION", "value": "false"}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "securityContext": _SECURITY,
        "readinessProbe": _PROBE,
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
    }
    pod = {
        "serviceAccountName": NAME,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 10,
        "containers": [container],
    }
    group = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": here},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": NAME},
            "subjects": [{"kind": "ServiceAccount", **here}],
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {**here, "labels": labels},
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]
