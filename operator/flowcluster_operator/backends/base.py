"""The interface that each kind of cluster, Dask and Ray, implements for the operator."""

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
    """Reads and writes the number of workers of one group, in the resource of an upstream operator."""

    resource: Resource

    def requested_workers(self, cluster: Object) -> int:
        """Return the number of workers that the resource requests."""
        ...

    def scale_patch(self, cluster: Object, scale: Scale) -> Object | list[Object]:
        """Return the merge patch or JSON patch by which the resource requests that number of workers.

        Args:
            cluster: the resource.
            scale: bounds and target. On Dask only the target counts, on Ray only the bounds.
        """
        ...

    def upstream_has_started(self, observed: Observed) -> bool:
        """Return whether the upstream operator has acted on the resource yet."""
        ...

    def accepts_scaling(self, cluster: Object) -> bool:
        """Return whether the upstream operator would act on a new number of workers, if that were written now."""
        ...


class Backend(Scalable, Protocol):
    """Builds and reads the objects of one kind of cluster. Pure: it does no I/O."""

    kind: str
    #: Whether the upstream operator replaces a lost scheduler or head.
    replaces_head: bool
    #: Whether the cluster's own autoscaler sets the number of workers, within the bounds.
    scales_itself: bool
    #: Seconds for which the cluster resource, or a further worker group, can lack pods. After that the operator reads
    #: its Events.
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
            groups: further worker groups. A RayCluster contains them; on Dask they are objects of their own.
        """
        ...

    def build_groups(
        self, key: RunId, spec: FlowRunSpec, settings: Settings, credentials: str, groups: Sequence[Group]
    ) -> list[Object]:
        """Return the objects of further worker groups, in the order of `groups`; none on Ray, see `build`."""
        ...

    def scalable_group(self, index: int, name: str) -> Scalable:
        """Return the `Scalable` of a further worker group.

        Args:
            index: of the group among the further groups.
            name: of the group.
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
        """Return the labels that select all pods of a cluster, if these pods connect to its drivers; None if not."""
        ...

    def service(self, name: str) -> str:
        """Return the name of the Service of the scheduler or head."""
        ...

    def invalid(self, cluster: Object) -> str | None:
        """Return why the upstream operator refuses the resource, from its status; None where that has no error."""
        ...

    def without_pods(
        self, cluster: Object, components: Collection[str], has_deployments: bool, groups: Sequence[Object]
    ) -> list[Object]:
        """Return the objects that lack pods. Only their Events can have the cause.

        Args:
            cluster: the cluster resource.
            components: the components that have pods.
            has_deployments: whether the cluster has Deployments.
            groups: the resources of its worker groups.
        """
        ...
