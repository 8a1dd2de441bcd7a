"""A Dask cluster on Kubernetes for the time that a Python object lives."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from flowcluster.agent.messages import Adapt
from flowcluster.clusters.adapting import Adapting, adapting, check_number
from flowcluster.clusters.claim import Claim
from flowcluster.clusters.claimed_dask import ClaimedDaskCluster
from flowcluster.clusters.manifest import Spec, cluster_run, cluster_spec, default_image
from flowcluster.kube.choice import Choice
from flowcluster_api import lease


class DaskKubernetesCluster(ClaimedDaskCluster):
    """Asks flowcluster's operator for a Dask cluster, and keeps it until this object is closed.

    It is a FlowRun without a flow: ``kubectl get flowruns`` shows it. It goes when it is closed, when this process
    ends, however it ends, and when nothing is heard of this process for `lease_duration_seconds`.

    Args:
        name: of the FlowRun. By default that of the flow run, followed by something that makes it unique.
        image: of scheduler and workers; by default ``FLOWCLUSTER_IMAGE``, or what the operator's administrator set.
        n_workers: exactly so many. By default as many as the work needs, from none to the administrator's limit.
        resources: requests and limits of each worker, as in a pod.
        env: environment variables of scheduler and workers.
        workers, scheduler: ``spec.cluster.workers`` and ``spec.cluster.scheduler`` of the FlowRun, for all else.
        start_deadline_seconds: until the scheduler and `n_workers` workers are ready; 600 by default.
        active_deadline_seconds: after which the cluster goes in any case.
        idle_timeout_seconds: after which the cluster goes when nothing has run on it.
        ttl_seconds_after_finished: for which the record of the FlowRun is kept; a day by default.
        kubeconfig, context, namespace: where, by the rules of kubectl if they are not given.
        asynchronous: whether it is used by code on an event loop, with ``async with``.

    Raises `KubernetesError` if the API server refuses the FlowRun or cannot be reached, `ClusterNotStarted` with the
    cause if there will be no cluster.
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
            await self._resize(adapting(address, {}, {}))
        else:
            can_idle = "idleTimeoutSeconds" in self._claim.manifest["spec"]
            await asyncio.to_thread(self._claim.look, Adapt(address, when_edited=not can_idle))

    def scale(self, n: int) -> Any:
        """Have `n` workers, no more and no fewer.

        Raises ValueError for what is no number of workers, `KubernetesError` if the API server refuses it.
        """
        check_number(n)
        wanted = Adapt(self.scheduler_address, down_delay=0.0, idle_seconds=0.0)
        return self.sync(self._resize, Adapting(n, n, wanted))

    def adapt(self, **kwargs: Any) -> Any:
        """Have as many workers as the work needs, from now on; see `flowcluster.clusters.adapting` for the words.

        Raises TypeError for a word that is not known, ValueError for a value that cannot be meant, `KubernetesError`
        if the API server refuses it.
        """
        worker = self._claim.manifest["spec"]["cluster"]["workers"]
        return self.sync(self._resize, adapting(self.scheduler_address, worker, kwargs))

    async def _resize(self, new: Adapting) -> None:
        await asyncio.to_thread(self._claim.resize, new.minimum, new.maximum, new.wanted)
