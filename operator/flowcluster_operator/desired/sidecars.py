"""Native sidecars in pods of Dask clusters.

Kubernetes 1.29 and later recognise a sidecar as an init container with `restartPolicy: Always`. DaskCluster's schema is
that of Kubernetes 1.21, and has no such field. dask-kubernetes creates Deployments, which always restart their
containers: there, a plain container does the work of a sidecar.
"""

from __future__ import annotations

from typing import Any

from flowcluster_operator.errors import TemplateError


def with_plain_sidecars(template: dict[str, Any], field: str) -> dict[str, Any]:
    """Return the pod template with its sidecars as plain containers, which start after all init containers.

    Raises:
        TemplateError: an init container follows a sidecar, and could rely on it.
    """
    given = template["spec"].get("initContainers")
    if not isinstance(given, list) or not any(_is_sidecar(item) for item in given):
        return template
    first = next(index for index, item in enumerate(given) if _is_sidecar(item))
    if after := [item for item in given[first:] if not _is_sidecar(item)]:
        raise TemplateError(
            f"{field}.spec.initContainers: {after[0].get('name')} follows {given[first].get('name')}, which has "
            "restartPolicy Always. In a DaskCluster, such a sidecar is a plain container and starts after all init "
            "containers: put it last"
        )
    sidecars = [{name: value for name, value in item.items() if name != "restartPolicy"} for item in given[first:]]
    spec = {**template["spec"], "containers": [*template["spec"]["containers"], *sidecars]}
    if first:
        spec["initContainers"] = given[:first]
    else:
        del spec["initContainers"]
    return {**template, "spec": spec}


def _is_sidecar(container: Any) -> bool:
    return isinstance(container, dict) and container.get("restartPolicy") == "Always"
