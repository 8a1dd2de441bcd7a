"""Containers and images of the pods of drivers, keepers, schedulers, heads and workers."""

from __future__ import annotations

from typing import Any

from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_api.v1alpha1.spec import Resources
from flowcluster_operator.settings import Settings

#: Passes Pod Security `restricted`.
CONTAINER_SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def container(
    name: str, image: str, args: list[str] | None, settings: Settings, resources: Resources | None = None
) -> dict[str, Any]:
    """Return a container with what all containers have that the operator builds: no env, ports or probes."""
    body: dict[str, Any] = {"name": name, "image": image, "securityContext": CONTAINER_SECURITY}
    if args is not None:
        body["args"] = args
    if settings.image_pull_policy:
        body["imagePullPolicy"] = settings.image_pull_policy
    if resources is not None:
        body["resources"] = resources.model_dump(by_alias=True, exclude_none=True)
    return body


def flow_image(spec: FlowRunSpec, settings: Settings) -> str:
    """Return the driver's image."""
    return (spec.flow and spec.flow.image) or settings.default_image


def cluster_image(spec: FlowRunSpec, settings: Settings) -> str:
    """Return the image of scheduler and workers. Default: the driver's, so that all have the same packages."""
    return (spec.cluster and spec.cluster.image) or flow_image(spec, settings)
