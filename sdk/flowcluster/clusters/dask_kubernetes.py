"""A Dask cluster on Kubernetes for the time that a Python object lives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from distributed.core import Status, rpc
from distributed.deploy.cluster import Cluster
from distributed.security import Security
from distributed.utils import Log, format_dashboard_link
from distributed.versions import get_versions

from flowcluster.agent.messages import Adapt
from flowcluster.clusters import versions
from flowcluster.clusters.adapting import Adapting, adapting, check_number
from flowcluster.clusters.address import wait_for
from flowcluster.clusters.claim import RELEASED, Claim
from flowcluster.clusters.manifest import Spec, cluster_run, cluster_spec, default_image
from flowcluster.context import activity
from flowcluster.errors import ClusterLost
from flowcluster.kube.choice import Choice
from flowcluster_api import lease

logger = logging.getLogger("flowcluster.cluster")

#: Ports of a scheduler's pod, and seconds for a connection to it.
SCHEDULER_PORT, DASHBOARD_PORT = 8786, 8787
CONNECT_SECONDS = 30.0


class DaskKubernetesCluster(Cluster):  # type: ignore[misc]
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
        )
        self._adapts = n_workers is None
        self._claim = Claim(manifest, Choice(kubeconfig, context, namespace), self._adapts)
        self._dashboard = ""
        self._report = activity.get()
        self.status: Status
        #: How the work ended that it was for: what its record shall say once it is closed.
        self.outcome = RELEASED
        self.security = None
        super().__init__(asynchronous=asynchronous, loop=loop, quiet=quiet, name=name or "")
        if not self.asynchronous:
            self._loop_runner.start()
            try:
                self.sync(self._start)
            except BaseException as error:
                self._claim.give_up(error)
                self._loop_runner.stop()
                raise

    async def _start(self) -> None:
        if self.status is not Status.created:
            return
        self.status = Status.starting
        try:
            address = await asyncio.to_thread(self._bring_up)
            self.scheduler_comm = rpc(address, connection_args=Security().get_connection_args("client"))
            theirs = await self.scheduler_comm.versions()
            for difference in versions.check(get_versions(), theirs, self._claim.image):
                logger.warning(difference)
            await super()._start()
            if self._adapts:
                await self._resize(adapting(address, {}, {}))
            else:
                can_idle = "idleTimeoutSeconds" in self._claim.manifest["spec"]
                await asyncio.to_thread(self._claim.look, Adapt(address, when_edited=not can_idle))
        except BaseException as error:
            await asyncio.to_thread(self._claim.give_up, error)
            if self.scheduler_comm:
                await self.scheduler_comm.close_rpc()
            self.status = Status.closed
            raise

    def _bring_up(self) -> str:
        """Ask for the cluster, wait for it, find a way to it; the scheduler's address from here."""
        status = self._claim.bring_up(self._report)
        self.name = self._claim.name
        address: str = status["cluster"]["address"]
        if self._claim.is_known:
            self._dashboard = status["cluster"]["dashboard"]
            wait_for(address, CONNECT_SECONDS)
            return address
        ports = self._claim.forward(status["cluster"]["scheduler"]["pod"], [SCHEDULER_PORT, DASHBOARD_PORT])
        self._dashboard = str(format_dashboard_link("127.0.0.1", ports[DASHBOARD_PORT]))
        # The relay at the other end has the keys; who reaches it was let through by the API server.
        return f"tcp://127.0.0.1:{ports[SCHEDULER_PORT]}"

    async def _close(self) -> None:
        if self.status == Status.closed:
            return
        await super()._close()
        await asyncio.to_thread(self._claim.release, self.outcome)

    def close(self, timeout: float | None = None) -> Any:
        """Give the cluster back: it is released at once, and the operator removes it."""
        closing = super().close(timeout)
        if not self.asynchronous:
            self._loop_runner.stop()
        return closing

    def __await__(self) -> Any:
        async def started() -> DaskKubernetesCluster:
            await self._start()
            return self

        return started().__await__()

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

    async def _get_logs(self, cluster: bool = True, scheduler: bool = True, workers: bool = True) -> Any:
        logs = await super()._get_logs(cluster=False, scheduler=scheduler, workers=workers)
        if cluster:
            logs["Cluster"] = Log(await asyncio.to_thread(self._claim.story))
        return logs

    def logs(self, cluster: bool = True, scheduler: bool = True, workers: bool = True) -> Any:
        """What scheduler and workers logged, and the FlowRun's story: texts by name."""
        return self.get_logs(cluster, scheduler, workers)

    @property
    def lost(self) -> ClusterLost | None:
        """That the cluster went away, and why, once it has."""
        return self._claim.lost

    def find_loss(self) -> ClusterLost | None:
        """Query the API server whether the cluster is lost; return why, or None while it exists."""
        return self._claim.find_loss()

    @property
    def dashboard_link(self) -> str:
        """URL of the scheduler's dashboard, for a browser where this process runs."""
        return self._dashboard
