"""A Ray cluster on Kubernetes that exists as long as a Python object is open."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from flowcluster.clusters.adapt import UNLIMITED, check_number, parse_bounds
from flowcluster.clusters.claim import Claim
from flowcluster.clusters.claimed_ray import ClaimedRayCluster
from flowcluster.clusters.manifest import Spec, cluster_run, cluster_spec, default_image
from flowcluster.kube.choice import Choice
from flowcluster_api import lease
from flowcluster_api.offers import offers

#: Seconds between two reads of the cluster's status.
LOOK_SECONDS = 0.5


class RayKubernetesCluster(ClaimedRayCluster):
    """Requests a Ray cluster from flowcluster's operator, and keeps it until this object is closed.

    The cluster is a FlowRun without a flow: ``kubectl get flowruns`` shows it. The operator deletes the cluster when
    this object is closed, when this process ends in any way, and when the lease has not been renewed for
    `lease_duration_seconds`. While this object is open, Ray in this process sends the cluster's token:
    ``ray.init(cluster.address)`` connects. Closing it shuts down a Ray that is still connected.

    Args:
        name: of the FlowRun. By default the name of the flow run with a unique suffix.
        image: of head and workers, with Ray in it; by default ``FLOWCLUSTER_IMAGE``, or the image of the operator's
            administrator.
        n_workers: the number of workers. By default, it follows the work, from 0 to the administrator's limit.
        resources: requests and limits of each worker, as in a pod.
        env: environment variables of head and workers.
        workers, scheduler: ``spec.cluster.workers`` and, for the head, ``spec.cluster.scheduler`` of the FlowRun.
        start_deadline_seconds: seconds until the head and `n_workers` workers must be ready; 600 by default.
        active_deadline_seconds: seconds after which the cluster is deleted in any case.
        idle_timeout_seconds: seconds after which the cluster is deleted when no task of its flow has run and it has no
            more workers than its minimum. Outside a flow it has no effect.
        lease_duration_seconds: seconds without a renewal after which the operator counts this process as lost.
        ttl_seconds_after_finished: seconds for which the record of the FlowRun is kept; a day by default.
        kubeconfig, context, namespace: where the FlowRun is created; by default as for kubectl.
        asynchronous: whether code on an event loop uses it, with ``async with`` or ``await``.

    Attributes:
        offers: the resources that each worker has for tasks: amounts by name. An amount is None if only the worker
            itself can measure it.

    Raises:
        KubernetesError: the API server refuses the FlowRun or cannot be reached.
        ClusterNotStarted: the cluster cannot start; the message names the cause.
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
        """Scale the cluster to `n` workers. Ray removes surplus workers when they have been idle for a while.

        Raises:
            ValueError: `n` is not a valid number of workers.
            KubernetesError: the API server refuses the change or cannot be reached.
        """
        check_number(n)
        self._claim.resize(n, n)

    def adapt(self, **kwargs: Any) -> None:
        """Let the number of workers follow the work from now on.

        The number stays between `minimum` and `maximum`, or between the workers that have `minimum_cores` or
        `minimum_memory` and those that have `maximum_cores` or `maximum_memory`. Ray itself sets the delays.

        Raises:
            TypeError: an argument does not exist; the message names it.
            ValueError: an argument has an invalid value; the message names it.
            KubernetesError: the API server refuses the change or cannot be reached.
        """
        worker = self._claim.manifest["spec"]["cluster"]["workers"]
        low, high, left = parse_bounds(worker, kwargs)
        if left:
            raise TypeError(f"adapt() of a Ray cluster does not know {', '.join(map(repr, sorted(left)))}.")
        self._claim.resize(low, high)

    def wait_for_workers(self, n_workers: int, timeout: float | None = None) -> None:
        """Wait until `n_workers` workers are ready.

        Raises:
            TimeoutError: they were not ready after `timeout` seconds.
            ClusterLost: the cluster was lost.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while (ready := self._claim.ready_workers()) < n_workers:
            if self.lost is not None:
                raise self.lost
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"{ready} of {n_workers} workers were ready after {timeout:g} s.")
            time.sleep(LOOK_SECONDS)
