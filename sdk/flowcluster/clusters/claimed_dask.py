"""The base of Dask clusters on Kubernetes: an object that claims its own or a shared cluster by a FlowRun."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Self

from distributed.core import Status, rpc
from distributed.deploy.cluster import Cluster
from distributed.security import Security
from distributed.utils import Log, format_dashboard_link
from distributed.versions import get_versions

from flowcluster.clusters import versions
from flowcluster.clusters.address import wait_for
from flowcluster.clusters.claim import RELEASED, Claim
from flowcluster.context import activity
from flowcluster.errors import ClusterLost
from flowcluster_api.ports import DASK_DASHBOARD, DASK_SCHEDULER

logger = logging.getLogger("flowcluster.cluster")

#: Seconds for a connection to the scheduler.
CONNECT_SECONDS = 30.0


class ClaimedDaskCluster(Cluster):  # type: ignore[misc]
    """Uses the Dask cluster of a claim until this object is closed.

    Args:
        claim: of the FlowRun that requests the cluster.
        name: of the FlowRun, if it already has one.
        asynchronous: whether code on an event loop uses it, with ``async with``.
        loop: the event loop, as for other clusters of Dask.
        quiet: as for other clusters of Dask.

    Attributes:
        outcome: how the work on the cluster ended. `close` writes it into the FlowRun's record.

    Raises:
        KubernetesError: the API server refuses the FlowRun or cannot be reached.
        ClusterNotStarted: the cluster cannot start; the message names the cause.
    """

    def __init__(self, claim: Claim, *, name: str | None, asynchronous: bool, loop: Any, quiet: bool) -> None:
        self._claim = claim
        self._dashboard = ""
        self._report = activity.get()
        self.status: Status
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

    def _check(self, status: dict[str, Any]) -> None:
        """Raise an error if this class cannot use the cluster with this ``status.cluster``."""

    async def _attach(self) -> None:
        """Follow the scheduler's information about its workers."""
        await super()._start()

    async def _connected(self, address: str) -> None:
        """Continue the start when the scheduler has answered at `address`."""

    async def _start(self) -> None:
        if self.status is not Status.created:
            return
        self.status = Status.starting
        try:
            address = await asyncio.to_thread(self._bring_up)
            self.scheduler_comm = rpc(address, connection_args=Security().get_connection_args("client"))
            theirs = await self.scheduler_comm.versions()
            for difference in versions.check(get_versions(), theirs, self._claim.remedy):
                logger.warning(difference)
            await self._attach()
            await self._connected(address)
        except BaseException as error:
            await asyncio.to_thread(self._claim.give_up, error)
            if self.scheduler_comm:
                await self.scheduler_comm.close_rpc()
            self.status = Status.closed
            raise

    def _bring_up(self) -> str:
        """Create the FlowRun, wait for its cluster, and return the scheduler's address as seen from this machine."""
        status = self._claim.bring_up(self._report)
        self.name = self._claim.name
        self._check(status["cluster"])
        address: str = status["cluster"]["address"]
        if self._claim.is_reachable:
            self._dashboard = status["cluster"]["dashboard"]
            wait_for(address, CONNECT_SECONDS)
            return address
        ports = self._claim.forward(status["cluster"]["scheduler"]["pod"], [DASK_SCHEDULER, DASK_DASHBOARD])
        self._dashboard = str(format_dashboard_link("127.0.0.1", ports[DASK_DASHBOARD]))
        # The relay in the pod has the credentials. The API server authorizes the clients that connect to it.
        return f"tcp://127.0.0.1:{ports[DASK_SCHEDULER]}"

    async def _close(self) -> None:
        if self.status == Status.closed:
            return
        await super()._close()
        await asyncio.to_thread(self._claim.release, self.outcome)

    def close(self, timeout: float | None = None) -> Any:
        """Release the FlowRun. The operator then deletes the run's own objects."""
        closing = super().close(timeout)
        if not self.asynchronous:
            self._loop_runner.stop()
        return closing

    def __await__(self) -> Any:
        async def started() -> Self:
            await self._start()
            return self

        return started().__await__()

    async def _get_logs(self, cluster: bool = True, scheduler: bool = True, workers: bool = True) -> Any:
        logs = await super()._get_logs(cluster=False, scheduler=scheduler, workers=workers)
        if cluster:
            logs["Cluster"] = Log(await asyncio.to_thread(self._claim.story))
        return logs

    def logs(self, cluster: bool = True, scheduler: bool = True, workers: bool = True) -> Any:
        """Return the logs of scheduler and workers, and the FlowRun's story: texts by name."""
        return self.get_logs(cluster, scheduler, workers)

    @property
    def lost(self) -> ClusterLost | None:
        """Return the loss of the cluster, with its cause; None while the cluster exists."""
        return self._claim.lost

    def find_loss(self) -> ClusterLost | None:
        """Query the API server for the loss of the cluster. Return the loss; None while the cluster exists."""
        return self._claim.find_loss()

    @property
    def dashboard_link(self) -> str:
        """Return the URL of the scheduler's dashboard for a browser on this machine."""
        return self._dashboard
