"""The interface between the operator and a kind of cluster."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from flowcluster_api.v1alpha1 import FlowRunSpec
from flowcluster_operator.model.identity import RunId
from flowcluster_operator.model.observed import Observed
from flowcluster_operator.model.workers import Group, Scale
from flowcluster_operator.resources import Object, Resource
from flowcluster_operator.settings import Settings


class Scalable(Protocol):
    """How the number of workers of one group is read and written."""

    resource: Resource

    def requested_workers(self, cluster: Object) -> int:
        """Return the number of workers that the resource requests."""
        ...

    def scale_patch(self, cluster: Object, scale: Scale) -> Object | list[Object]:
        """Return the merge patch or JSON patch by which the resource requests that number of workers.

        Args:
            cluster: the resource.
            scale: bounds and target; which of them counts depends on the kind.
        """
        ...

    def upstream_has_started(self, observed: Observed) -> bool:
        """Return whether the upstream operator has begun to serve the resource."""
        ...

    def notices_numbers(self, cluster: Object) -> bool:
        """Return whether the upstream operator acts on another number of workers that is written now."""
        ...


class Backend(Scalable, Protocol):
    """What the operator must know of a kind of cluster. Pure: it builds and reads objects, and does no I/O."""

    kind: str
    #: Whether the upstream operator replaces a lost scheduler or head.
    replaces_head: bool
    #: Whether the cluster's own autoscaler sets the number of workers, within the bounds.
    scales_itself: bool
    #: Seconds that the cluster resource, or a further worker group, can be without pods before its Events are read.
    podless_seconds: float

    def build(
        self,
        key: RunId,
        spec: FlowRunSpec,
        settings: Settings,
        scale: Scale,
        credentials: str,
        groups: Sequence[Group] = (),
    ) -> Object:
        """Return the whole cluster resource.

        Args:
            key: the owner.
            spec: of the run.
            settings: of the operator.
            scale: bounds and target of the workers.
            credentials: name of the Secret with the credentials.
            groups: further worker groups, for kinds of clusters that have them in this resource.
        """
        ...

    def build_groups(
        self, key: RunId, spec: FlowRunSpec, settings: Settings, credentials: str, groups: Sequence[Group]
    ) -> list[Object]:
        """Return further worker groups that are objects of their own, in the order of `groups`."""
        ...

    def scalable_group(self, number: int, name: str) -> Scalable:
        """Return how the number of workers of a further worker group is read and written.

        Args:
            number: its index among the further groups.
            name: its name.
        """
        ...

    def address(self, name: str, namespace: str, settings: Settings, credentials: str | None) -> str:
        """Return the address of the cluster of that name, for drivers in this Kubernetes cluster.

        Args:
            name: of the cluster.
            namespace: of the cluster.
            settings: of the operator.
            credentials: name of the Secret with its credentials; None where it has none.
        """
        ...

    def credentials(self, cluster: Object) -> str | None:
        """Return the name of the Secret with the credentials that drivers need; None where they need none."""
        ...

    def dashboard(self, name: str, namespace: str, settings: Settings) -> str:
        """Return the URL of the dashboard, inside this Kubernetes cluster."""
        ...

    def head_selector(self, name: str) -> str:
        """Return the label selector of the scheduler's or head's pods of the cluster of that name."""
        ...

    def members(self, name: str) -> dict[str, str] | None:
        """Return the labels of all pods of the cluster of that name, where these connect to its drivers; else None."""
        ...

    def service(self, name: str) -> str:
        """Return the name of the Service of the scheduler or head."""
        ...

    def invalid(self, cluster: Object) -> str | None:
        """Return why the upstream operator refuses the resource, as it reports; None where it reports nothing."""
        ...

    def without_pods(
        self, cluster: Object, components: Collection[str], has_deployments: bool, groups: Sequence[Object]
    ) -> list[Object]:
        """Return the objects that lack pods, so that only their Events have the cause.

        Args:
            cluster: the cluster resource.
            components: the components that have pods.
            has_deployments: whether the cluster has Deployments.
            groups: further resources of worker groups.
        """
        ...
