"""The seam between the operator and a kind of cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.model import Group, Key, Observed, Scale
from flowcluster_operator.resources import Object, Resource
from flowcluster_operator.settings import Settings


class Sizes(Protocol):
    """How the number of workers of one group is read and written."""

    resource: Resource

    def workers(self, cluster: Object) -> int:
        """Return the workers that the resource requests."""
        ...

    def sized(self, cluster: Object, scale: Scale) -> Object | list[Object]:
        """Return the merge patch or JSON patch by which the resource requests that many workers."""
        ...

    def acted_on(self, observed: Observed) -> bool:
        """Whether the upstream operator has begun to serve the resource."""
        ...

    def notices_numbers(self, cluster: Object) -> bool:
        """Whether the upstream operator acts on another number of workers, if it comes now."""
        ...


class Backend(Sizes, Protocol):
    """What the operator must know of a kind of cluster. Pure: it builds and reads objects, and asks nobody."""

    kind: str
    #: Whether the upstream operator puts another scheduler or head in the place of a lost one.
    replaces_leader: bool
    #: Whether the cluster finds out by itself how many workers it needs, within the bounds that it is given.
    scales_itself: bool

    def build(
        self, key: Key, spec: FlowRunSpec, settings: Settings, scale: Scale, keys: str, groups: Sequence[Group] = ()
    ) -> Object:
        """Return the whole cluster resource with that many workers and the credentials in the Secret `keys`.

        Further worker groups are in it where the kind of cluster has them there.
        """
        ...

    def build_groups(
        self, key: Key, spec: FlowRunSpec, settings: Settings, keys: str, groups: Sequence[Group]
    ) -> list[Object]:
        """Return further worker groups that are objects of their own, in the order of `groups`."""
        ...

    def group_sizes(self, number: int, name: str) -> Sizes:
        """Return how the size is read and written of the further worker group of that name.

        Args:
            number: its place among the further groups.
            name: its name.
        """
        ...

    def address(self, name: str, namespace: str, settings: Settings, keys: str | None) -> str:
        """Where a driver in this Kubernetes that has the keys, if there are any, reaches the cluster of that name."""
        ...

    def keys(self, cluster: Object) -> str | None:
        """Name of the Secret with the keys that let a driver into the cluster; None where it needs none."""
        ...

    def dashboard(self, name: str, namespace: str, settings: Settings) -> str:
        """URL of its dashboard, inside this Kubernetes."""
        ...

    def leader_selector(self, name: str) -> str:
        """Label selector of the scheduler's or head's pods of the cluster of that name."""
        ...

    def members(self, name: str) -> dict[str, str] | None:
        """Labels of all pods of the cluster of that name, where these pods connect to its drivers; else None."""
        ...

    def service(self, name: str) -> str:
        """Name of the Service that leads to the scheduler or head."""
        ...

    def invalid(self, cluster: Object) -> str | None:
        """Why the upstream operator will not serve the resource, when it says so."""
        ...
