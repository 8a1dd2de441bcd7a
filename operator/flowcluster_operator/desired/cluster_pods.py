"""The pod templates of a cluster, with what its parts have in common on every kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowcluster_api import names
from flowcluster_api.v1alpha1 import Scheduler, Workers
from flowcluster_operator.desired.credentials import with_credentials
from flowcluster_operator.desired.overlay import lay_over
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
        containers: of its pods. The first one is the main container, and has the name of the component.
        settings: of the operator.
        credentials: name of the Secret with the credentials, which all containers mount.
        environment: variables that make the containers use the credentials.
        group: further worker group of the pods; empty for all other parts.

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
    return lay_over(template, part.template if part else {}, f"spec.cluster.{field}.template")
