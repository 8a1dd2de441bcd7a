"""The fields of a spec that messages name for each component of a run: users change the component there."""

from __future__ import annotations

from typing import NamedTuple

from flowcluster_api import names


class SpecFields(NamedTuple):
    """The fields of one part.

    Attributes:
        image: the fields that name its image.
        resources: the field with requests and limits of its main container.
        template: the field with its pod template.
        program: what its image must have installed.
    """

    image: str
    resources: str
    template: str
    program: str


_CLUSTER_IMAGE = "spec.cluster.image, or spec.flow.image"
_DASK, _RAY = "dask and distributed", "ray"
_DRIVER = SpecFields(
    "spec.flow.image", "spec.flow.template (container driver, resources)", "spec.flow.template", "flowcluster"
)
_SCHEDULER = SpecFields(_CLUSTER_IMAGE, "spec.cluster.scheduler.resources", "spec.cluster.scheduler.template", _DASK)
_WORKER = SpecFields(_CLUSTER_IMAGE, "spec.cluster.workers.resources", "spec.cluster.workers.template", _DASK)

#: Components whose pods are checked for causes, nearest to the flow first.
COMPONENTS = (names.COMPONENT_DRIVER, names.COMPONENT_SCHEDULER, names.COMPONENT_HEAD, names.COMPONENT_WORKER)


def fields_of(component: str, kind: str | None) -> SpecFields:
    """Return the fields of a component of a run with a cluster of that kind."""
    if component == names.COMPONENT_DRIVER:
        return _DRIVER
    fields = _WORKER if component == names.COMPONENT_WORKER else _SCHEDULER
    return fields._replace(program=_RAY) if kind == "Ray" else fields
