"""The pod templates of a cluster: what its parts have in common, of whatever kind it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowcluster_api import names
from flowcluster_api.v1alpha1 import Scheduler, Workers
from flowcluster_operator.desired.overlay import lay_over
from flowcluster_operator.desired.tls import with_keys
from flowcluster_operator.model import Key
from flowcluster_operator.settings import Settings


def cluster_template(
    key: Key,
    part: Scheduler | Workers | None,
    field: str,
    containers: list[dict[str, Any]],
    settings: Settings,
    keys: str,
    environment: Mapping[str, str],
    group: str = "",
) -> dict[str, Any]:
    """Return the PodTemplateSpec of the part at ``spec.cluster.FIELD``; the first container gives it its name.

    Its pods have the credentials in the Secret `keys`, and `environment` to use them. Those of a further worker group
    have the label of that `group`.

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
        "spec": with_keys(pod, keys, environment),
    }
    return lay_over(template, part.template if part else {}, f"spec.cluster.{field}.template")
