"""A Ray cluster on Kubernetes for the time of one flow run, or of anything else in this process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from flowcluster.clusters.adapting import UNLIMITED, bounds, check_number
from flowcluster.clusters.claim import Claim
from flowcluster.clusters.claimed_ray import ClaimedRayCluster
from flowcluster.clusters.manifest import Spec, cluster_run, cluster_spec, default_image
from flowcluster.kube.choice import Choice
from flowcluster_api import lease
from flowcluster_api.offers import offers

#: Seconds between two looks at the cluster's workers.
LOOK_SECONDS = 0.5


class RayKubernetesCluster(ClaimedRayCluster):
    """Asks flowcluster's operator for a Ray cluster, and keeps it until this object is closed.

    It is a FlowRun without a flow: ``kubectl get flowruns`` shows it. It goes when it is closed, when this process
    ends, however it ends, and when nothing is heard of this process for `lease_duration_seconds`. As long as it is
    open, Ray in this process shows the cluster's token: ``ray.init(cluster.address)`` is all that is needed. What is
    still connected to it when it is closed is shut down.

    Args:
        name: of the FlowRun. By default that of the flow run, followed by something that makes it unique.
        image: of head and workers, with Ray in it; by default ``FLOWCLUSTER_IMAGE``, or what the operator's
            administrator set.
        n_workers: exactly so many. By default as many as the work needs, from none to the administrator's limit.
        resources: requests and limits of each worker, as in a pod.
        env: environment variables of head and workers.
        workers, scheduler: ``spec.cluster.workers`` and, for the head, ``spec.cluster.scheduler`` of the FlowRun.
        start_deadline_seconds: until the head and `n_workers` workers are ready; 600 by default.
        active_deadline_seconds: after which the cluster goes in any case.
        idle_timeout_seconds: after which the cluster goes when no task of the flow that made it has run, and it has no
            more workers than its minimum. Outside of a flow it has no effect.
        ttl_seconds_after_finished: for which the record of the FlowRun is kept; a day by default.
        kubeconfig, context, namespace: where, by the rules of kubectl if they are not given.
        asynchronous: whether it is used by code on an event loop, with ``async with`` or ``await``.

    Raises `KubernetesError` if the API server refuses the FlowRun or cannot be reached, `ClusterNotStarted` with the
    cause if there will be no cluster.

    Attributes:
        offers: what each worker has for tasks: amounts by resource, None where only the worker itself knows.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        image: str | None = None,
        n_workers: int | None = None,
        resources: Spec | None = None,
        env: Mapping[str, str] | None = None,
        workers: Spec | None = None,
        scheduler: Spec | None = None,
        start_deadline_seconds: int | None = None,
        active_deadline_seconds: int | None = None,
        idle_timeout_seconds: int | None = None,
        lease_duration_seconds: int = lease.DURATION,
        ttl_seconds_after_finished: int | None = None,
        kubeconfig: str | None = None,
        context: str | None = None,
        namespace: str | None = None,
        asynchronous: bool = False,
    ) -> None:
        manifest = cluster_run(
            name,
            cluster_spec("Ray", image or default_image(), n_workers, resources, env, workers, scheduler),
            start_deadline_seconds=start_deadline_seconds,
            active_deadline_seconds=active_deadline_seconds,
            idle_timeout_seconds=idle_timeout_seconds,
            lease_duration_seconds=lease_duration_seconds,
            ttl_seconds_after_finished=ttl_seconds_after_finished,
        )
        if n_workers is None:
            manifest["spec"]["cluster"]["workers"]["maximum"] = UNLIMITED
        self.offers = offers(manifest["spec"]["cluster"]["workers"])
        super().__init__(
            Claim(manifest, Choice(kubeconfig, context, namespace), adapts=False), asynchronous=asynchronous
        )

    def scale(self, n: int) -> None:
        """Have `n` workers, no more and no fewer; those too many go when they have had nothing to do for a while.

        Raises ValueError for what is no number of workers, `KubernetesError` if the API server refuses it.
        """
        check_number(n)
        self._claim.resize(n, n)

    def adapt(self, **kwargs: Any) -> None:
        """Have as many workers as the work needs, from now on.

        The number stays between `minimum` and `maximum`, or between the workers that have `minimum_cores` or
        `minimum_memory` and those that have `maximum_cores` or `maximum_memory`. The tempo is Ray's own.

        Raises TypeError for a word that is not known, ValueError for a value that cannot be meant, `KubernetesError`
        if the API server refuses it.
        """
        worker = self._claim.manifest["spec"]["cluster"]["workers"]
        low, high, left = bounds(worker, kwargs)
        if left:
            raise TypeError(f"adapt() of a Ray cluster does not know {', '.join(map(repr, sorted(left)))}.")
        self._claim.resize(low, high)

    def wait_for_workers(self, n_workers: int, timeout: float | None = None) -> None:
        """Return when so many workers are ready. Raises TimeoutError after `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while (ready := self._claim.ready_workers()) < n_workers:
            if self.lost is not None:
                raise self.lost
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"{ready} of {n_workers} workers were ready after {timeout:g} s.")
            time.sleep(LOOK_SECONDS)
