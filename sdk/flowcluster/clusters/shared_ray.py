"""A shared Ray cluster, used by this process for the time that a Python object lives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowcluster.clusters import ray_access
from flowcluster.clusters.claim import Claim
from flowcluster.clusters.claimed_ray import ClaimedRayCluster
from flowcluster.clusters.manifest import cluster_run
from flowcluster.clusters.shared import check_kind, fixed_size, shared_ref
from flowcluster.kube.choice import Choice
from flowcluster_api import lease


class SharedRayKubernetesCluster(ClaimedRayCluster):
    """Uses a SharedCluster of Ray until this object is closed.

    It is a FlowRun without a flow: ``kubectl get flowruns`` shows it. A SharedCluster that was shut down as nothing
    used it starts again. What this process holds on the cluster is released when the object is closed, when the process
    ends, however it ends, and when it is silent for `lease_duration_seconds`. The cluster goes on.

    As long as it is open, Ray in this process shows the cluster's token: ``ray.init(cluster.address)`` is all that is
    needed. What is still connected to it when it is closed is shut down.

    Args:
        name: of the SharedCluster; ``NAME/NAMESPACE`` for one of another namespace, which must allow `namespace`.
        priority: of its tasks among those of other runs, from -100 to 100; a larger number is scheduled first.
        share: what it can use of the cluster: ``{"threads": 4}`` for four tasks in flight at most.
        run_name: of the FlowRun. By default that of the flow run, or else of the SharedCluster, made unique.
        start_deadline_seconds: until the cluster is usable; 600 by default.
        active_deadline_seconds: after which the FlowRun ends in any case.
        lease_duration_seconds: of silence, after which this process counts as gone.
        ttl_seconds_after_finished: for which the record of the FlowRun is kept; a day by default.
        kubeconfig, context, namespace: where the FlowRun is created, by the rules of kubectl if they are not given.
        asynchronous: whether code on an event loop uses it, with ``async with`` or ``await``.

    Raises:
        ValueError: an argument that no FlowRun can have.
        KubernetesError: the API server refuses the FlowRun or cannot be reached.
        ClusterNotStarted: the cluster cannot be used; the message names the cause.
        ClusterError: the SharedCluster is of Dask.
    """

    def __init__(
        self,
        name: str,
        *,
        priority: int | None = None,
        share: Mapping[str, Any] | None = None,
        run_name: str | None = None,
        start_deadline_seconds: int | None = None,
        active_deadline_seconds: int | None = None,
        lease_duration_seconds: int = lease.DURATION,
        ttl_seconds_after_finished: int | None = None,
        kubeconfig: str | None = None,
        context: str | None = None,
        namespace: str | None = None,
        asynchronous: bool = False,
    ) -> None:
        self._ref = shared_ref(name, priority, share)
        manifest = cluster_run(
            run_name,
            {"ref": self._ref},
            start_deadline_seconds=start_deadline_seconds,
            active_deadline_seconds=active_deadline_seconds,
            lease_duration_seconds=lease_duration_seconds,
            ttl_seconds_after_finished=ttl_seconds_after_finished,
        )
        super().__init__(
            Claim(manifest, Choice(kubeconfig, context, namespace), adapts=False), asynchronous=asynchronous
        )

    def _check(self, status: dict[str, Any]) -> None:
        check_kind(status["kind"], "Ray", self._ref)

    def _bring_up(self) -> None:
        super()._bring_up()
        assert self.run_uid is not None
        self._resources.enter_context(ray_access.tagged(self.run_uid))

    @property
    def run_uid(self) -> str | None:
        """UID of the FlowRun, with which the work of this process is tagged; None before there is one."""
        return self._claim.uid

    def scale(self, n: int) -> Any:
        """Raise `ClusterError`: the workers of a SharedCluster are not this client's."""
        raise fixed_size(self._ref, "scale")

    def adapt(self, **kwargs: Any) -> Any:
        """Raise `ClusterError`: the workers of a SharedCluster are not this client's."""
        raise fixed_size(self._ref, "adapt")
