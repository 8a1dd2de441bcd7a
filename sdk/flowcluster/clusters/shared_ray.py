"""A shared Ray cluster that this process uses as long as a Python object is open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowcluster.clusters.claim import Claim
from flowcluster.clusters.claimed_ray import ClaimedRayCluster
from flowcluster.clusters.manifest import cluster_run
from flowcluster.clusters.ray import access
from flowcluster.clusters.shared_ref import check_kind, fixed_size, shared_ref
from flowcluster.kube.choice import Choice
from flowcluster_api import lease


class SharedRayKubernetesCluster(ClaimedRayCluster):
    """Uses a SharedCluster of Ray until this object is closed.

    A FlowRun without a flow represents the use: ``kubectl get flowruns`` shows it. A SharedCluster that was shut down
    because it was idle starts again. The keeper releases the tasks and data of this process when the object is closed,
    when the process ends in any way, and when the lease has not been renewed for `lease_duration_seconds`. The cluster
    remains.

    While it is open, Ray in this process sends the cluster's token: ``ray.init(cluster.address)`` connects. Closing it
    shuts down a Ray that is still connected.

    Args:
        name: of the SharedCluster; ``NAME/NAMESPACE`` for one of another namespace, which must allow `namespace`.
        priority: of its tasks among those of other runs, from -100 to 100; a larger number is scheduled first.
        share: its share of the cluster: ``{"threads": 4}`` for at most four tasks in flight.
        run_name: of the FlowRun. By default the name of the flow run or of the SharedCluster, with a unique suffix.
        start_deadline_seconds: seconds until the cluster must be usable; 600 by default.
        active_deadline_seconds: seconds after which the FlowRun ends in any case.
        lease_duration_seconds: seconds without a renewal after which the operator counts this process as lost.
        ttl_seconds_after_finished: seconds for which the record of the FlowRun is kept; a day by default.
        kubeconfig, context, namespace: where the FlowRun is created; by default as for kubectl.
        asynchronous: whether code on an event loop uses it, with ``async with`` or ``await``.

    Raises:
        ValueError: an argument is invalid in a FlowRun.
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
        self._resources.enter_context(access.tagged(self.run_uid))

    @property
    def run_uid(self) -> str | None:
        """Return the UID of the FlowRun, the tag of this process's work; None before the FlowRun exists."""
        return self._claim.uid

    def scale(self, n: int) -> Any:
        """Raise `ClusterError`: a client cannot change the workers of a SharedCluster."""
        raise fixed_size(self._ref, "scale")

    def adapt(self, **kwargs: Any) -> Any:
        """Raise `ClusterError`: a client cannot change the workers of a SharedCluster."""
        raise fixed_size(self._ref, "adapt")
