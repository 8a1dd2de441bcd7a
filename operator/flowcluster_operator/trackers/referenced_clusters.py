"""DaskClusters and RayClusters that runs use by `spec.cluster.ref`, as the API server has them now.

The operator does not watch them: they do not have its labels, and without labels a watch would report all pods of the
Kubernetes cluster. While runs use a cluster, the operator reads it, with one read for all these runs.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import NamedTuple

from flowcluster_api import names
from flowcluster_operator.backends.base import Backend
from flowcluster_operator.errors import NotFound
from flowcluster_operator.kube import Kube
from flowcluster_operator.model.references import Reference
from flowcluster_operator.pod_status import pod_facts
from flowcluster_operator.resources import POD, SERVICE, Object

#: Seconds for which a read stays valid.
FRESH_SECONDS = 2.0
#: Seconds after which a cluster that no run uses is forgotten.
_FORGOTTEN_SECONDS = 600.0


class _Place(NamedTuple):
    kind: str
    namespace: str
    name: str


@dataclasses.dataclass
class _Read:
    at: float
    found: Reference | None = None
    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)


class ReferencedClusters:
    """The last read of each cluster."""

    def __init__(self) -> None:
        self._reads: dict[_Place, _Read] = {}

    async def read(
        self, kube: Kube, backend: Backend, namespace: str, name: str, *, fresh: float = FRESH_SECONDS
    ) -> Reference:
        """Return the cluster of that name, as it was at most `fresh` seconds ago."""
        clock = asyncio.get_running_loop().time
        place = _Place(backend.kind, namespace, name)
        for other in [other for other, read in self._reads.items() if clock() - read.at > _FORGOTTEN_SECONDS]:
            del self._reads[other]
        known = self._reads.setdefault(place, _Read(clock()))
        requested = clock()
        async with known.lock:
            if known.found is None or known.at < requested - fresh:
                began = clock()
                known.found = await _reference(kube, backend, namespace, name)
                known.at = began
            return known.found


async def _reference(kube: Kube, backend: Backend, namespace: str, name: str) -> Reference:
    try:
        cluster = await kube.get(backend.resource, namespace, name)
    except NotFound:
        return Reference()
    pods, services = await asyncio.gather(
        kube.list(POD, namespace, labels=backend.head_selector(name)),
        kube.list(SERVICE, namespace, fields=f"metadata.name={backend.service(name)}"),
    )
    component = names.HEAD_COMPONENTS[backend.kind]
    head_pods = tuple(pod_facts(_labelled(pod, component)) for pod in pods["items"])
    return Reference(cluster, head_pods, has_service=bool(services["items"]))


def _labelled(pod: Object, component: str) -> Object:
    """Return a pod with the component label that the pods of runs have."""
    meta = pod["metadata"]
    return {**pod, "metadata": {**meta, "labels": {**(meta.get("labels") or {}), names.LABEL_COMPONENT: component}}}
