"""The pod template of one part of a cluster: what schedulers, heads and workers have in common, on Dask and on Ray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowcluster_api import names
from flowcluster_api.v1alpha1 import Scheduler, Workers
from flowcluster_operator.desired.credentials import with_credentials
from flowcluster_operator.desired.overlay import merge_template
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.settings import Settings


def cluster_template(
    key: RunId,
    part: Scheduler | Workers | None,
    field: str,
    containers: list[dict[str, Any]],
    settings: Settings,
    credentials: str,
    environment: Mapping[str, str],
    group: str = "",
) -> dict[str, Any]:
    """Return the PodTemplateSpec of one part of a cluster.

    Args:
        key: the owner.
        part: the part's spec; None for its defaults.
        field: where the part is in ``spec.cluster``.
        containers: of its pods. The first one is the main container: its name is that of the component.
        settings: of the operator.
        credentials: name of the Secret with the credentials, which all containers mount.
        environment: variables that make the containers use the credentials.
        group: the further worker group that the pods belong to; empty for all other pods.

    Raises:
        TemplateError: the template is not of the shape of a PodTemplateSpec.
    """
    labels = names.child_labels(key.name, key.uid, containers[0]["name"], key.kind)
    if group:
        labels[names.LABEL_WORKER_GROUP] = group
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": settings.cluster_grace_seconds,
        "containers": containers,
    }
    template = {
        "metadata": {"labels": labels},
        "spec": with_credentials(pod, credentials, environment),
    }
    return merge_template(template, part.template if part else {}, f"spec.cluster.{field}.template")
