"""A Dask cluster on Kubernetes that exists as long as a Python object is open."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from flowcluster.agent.protocol import Adapt
from flowcluster.clusters.adapt import AdaptRequest, check_number, parse_adapt
from flowcluster.clusters.claim import Claim
from flowcluster.clusters.claimed_dask import ClaimedDaskCluster
from flowcluster.clusters.manifest import Spec, cluster_run, cluster_spec, default_image
from flowcluster.kube.choice import Choice
from flowcluster_api import lease


class DaskKubernetesCluster(ClaimedDaskCluster):
    """Requests a Dask cluster from flowcluster's operator, and keeps it until this object is closed.

    The cluster is a FlowRun without a flow: ``kubectl get flowruns`` shows it. The operator deletes the cluster when
    this object is closed, when this process ends in any way, and when the lease has not been renewed for
    `lease_duration_seconds`.

    Args:
        name: of the FlowRun. By default the name of the flow run with a unique suffix.
        image: of scheduler and workers; by default ``FLOWCLUSTER_IMAGE``, or the image of the operator's administrator.
        n_workers: the number of workers. By default, it follows the work, from 0 to the administrator's limit.
        resources: requests and limits of each worker, as in a pod.
        env: environment variables of scheduler and workers.
        workers, scheduler: other fields of ``spec.cluster.workers`` and ``spec.cluster.scheduler`` of the FlowRun.
        start_deadline_seconds: seconds until the scheduler and `n_workers` workers must be ready; 600 by default.
        active_deadline_seconds: seconds after which the cluster is deleted in any case.
        idle_timeout_seconds: seconds of idleness after which the cluster is deleted.
        lease_duration_seconds: seconds without a renewal after which the operator counts this process as lost.
        ttl_seconds_after_finished: seconds for which the record of the FlowRun is kept; a day by default.
        kubeconfig, context, namespace: where the FlowRun is created; by default as for kubectl.
        asynchronous: whether code on an event loop uses it, with ``async with``.

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
        loop: Any = None,
        quiet: bool = True,
    ) -> None:
        manifest = cluster_run(
            name,
            cluster_spec("Dask", image or default_image(), n_workers, resources, env, workers, scheduler),
            start_deadline_seconds=start_deadline_seconds,
            active_deadline_seconds=active_deadline_seconds,
            idle_timeout_seconds=idle_timeout_seconds,
            lease_duration_seconds=lease_duration_seconds,
            ttl_seconds_after_finished=ttl_seconds_after_finished,
        )
        self._adapts = n_workers is None
        claim = Claim(manifest, Choice(kubeconfig, context, namespace), self._adapts)
        super().__init__(claim, name=name, asynchronous=asynchronous, loop=loop, quiet=quiet)

    async def _connected(self, address: str) -> None:
        if self._adapts:
            await self._resize(parse_adapt(address, {}, {}))
        else:
            can_idle = "idleTimeoutSeconds" in self._claim.manifest["spec"]
            await asyncio.to_thread(self._claim.observe, Adapt(address, when_edited=not can_idle))

    def scale(self, n: int) -> Any:
        """Scale the cluster to `n` workers.

        Raises:
            ValueError: `n` is not a valid number of workers.
            KubernetesError: the API server refuses the change or cannot be reached.
        """
        check_number(n)
        request = Adapt(self.scheduler_address, down_delay=0.0, idle_seconds=0.0)
        return self.sync(self._resize, AdaptRequest(n, n, request))

    def adapt(self, **kwargs: Any) -> Any:
        """Let the number of workers follow the work from now on. `flowcluster.clusters.adapt` has the arguments.

        Raises:
            TypeError: an argument does not exist; the message names it.
            ValueError: an argument has an invalid value; the message names it.
            KubernetesError: the API server refuses the change or cannot be reached.
        """
        worker = self._claim.manifest["spec"]["cluster"]["workers"]
        return self.sync(self._resize, parse_adapt(self.scheduler_address, worker, kwargs))

    async def _resize(self, new: AdaptRequest) -> None:
        await asyncio.to_thread(self._claim.resize, new.minimum, new.maximum, new.agent)
