"""The seam between the operator and a kind of cluster."""

from __future__ import annotations

from typing import Protocol

from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.model import Key, Observed
from flowcluster_operator.resources import Object, Resource
from flowcluster_operator.settings import Settings


class Backend(Protocol):
    """What the operator must know of a kind of cluster. Pure: it builds and reads objects, and asks nobody."""

    kind: str
    resource: Resource

    def build(self, key: Key, spec: FlowRunSpec, settings: Settings, workers: int, keys: str) -> Object:
        """The cluster resource, whole, with `workers` workers and the keys in the Secret of that name."""
        ...

    def address(self, name: str, namespace: str, settings: Settings, keys: str | None) -> str:
        """Where a driver in this Kubernetes that has the keys, if there are any, reaches the cluster of that name."""
        ...

    def keys(self, cluster: Object) -> str | None:
        """Name of the Secret with the keys of a cluster that is a run's own; None for somebody else's."""
        ...

    def dashboard(self, name: str, namespace: str, settings: Settings) -> str:
        """URL of its dashboard, inside this Kubernetes."""
        ...

    def workers(self, cluster: Object) -> int:
        """Workers that the cluster resource asks for."""
        ...

    def sized(self, workers: int) -> Object:
        """The merge patch by which the cluster resource asks for so many workers."""
        ...

    def acted_on(self, observed: Observed) -> bool:
        """Whether the upstream operator has begun to serve the cluster resource."""
        ...

    def invalid(self, cluster: Object) -> str | None:
        """Why the upstream operator will not serve the resource, when it says so."""
        ...
