"""A shared Dask cluster that this process uses as long as a Python object is open."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any, Self

from distributed import Client
from distributed.core import Status
from distributed.objects import SchedulerInfo

from flowcluster.clusters.claim import Claim
from flowcluster.clusters.claimed_dask import ClaimedDaskCluster
from flowcluster.clusters.manifest import cluster_run
from flowcluster.clusters.shared_ref import check_kind, fixed_size, shared_ref
from flowcluster.kube.choice import Choice
from flowcluster_api import lease, tags

#: Seconds between two polls of the cluster's workers.
REFRESH_SECONDS = 5.0


class SharedKubernetesCluster(ClaimedDaskCluster):
    """Uses a SharedCluster of Dask until this object is closed.

    A FlowRun without a flow represents the use: ``kubectl get flowruns`` shows it. A SharedCluster that was shut down
    because it was idle starts again. The keeper releases the tasks and data of this process when the object is closed,
    when the process ends in any way, and when the lease has not been renewed for `lease_duration_seconds`. The cluster
    remains.

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
        asynchronous: whether code on an event loop uses it, with ``async with``.

    Raises:
        ValueError: an argument is invalid in a FlowRun.
        KubernetesError: the API server refuses the FlowRun or cannot be reached.
        ClusterNotStarted: the cluster cannot be used; the message names the cause.
        ClusterError: the SharedCluster is of Ray.
    """

    _supports_scaling = False

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
        loop: Any = None,
        quiet: bool = True,
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
        claim = Claim(manifest, Choice(kubeconfig, context, namespace), adapts=False)
        super().__init__(claim, name=run_name, asynchronous=asynchronous, loop=loop, quiet=quiet)

    def _check(self, status: dict[str, Any]) -> None:
        check_kind(status["kind"], "Dask", self._ref)

    async def _attach(self) -> None:
        """Poll the workers in intervals.

        A Dask scheduler sends changes of its workers to one cluster object only, and its metadata contain the name of
        one cluster object. A second client would replace the first one.
        """
        await self._refresh()
        self.status = Status.running
        self._sync_cluster_info_task = asyncio.ensure_future(self._keep_refreshing())

    async def _keep_refreshing(self) -> None:
        while self.status is Status.running:
            await asyncio.sleep(REFRESH_SECONDS)
            with contextlib.suppress(OSError):  # the scheduler does not answer; the FlowRun ends if it is lost
                await self._refresh()

    async def _refresh(self) -> None:
        self.scheduler_info = SchedulerInfo(await self.scheduler_comm.identity())

    @property
    def run_uid(self) -> str | None:
        """Return the UID of the FlowRun, the tag of this process's work; None before the FlowRun exists."""
        return self._claim.uid

    def __await__(self) -> Any:
        async def started() -> Self:
            await self._start()
            if (client := _awaiting_client()) is not None and (uid := self.run_uid) is not None:
                _tag(client, uid)
            return self

        return started().__await__()

    def scale(self, n: int) -> Any:
        """Raise `ClusterError`: a client cannot change the workers of a SharedCluster."""
        raise fixed_size(self._ref, "scale")

    def adapt(self, **kwargs: Any) -> Any:
        """Raise `ClusterError`: a client cannot change the workers of a SharedCluster."""
        raise fixed_size(self._ref, "adapt")


def _awaiting_client() -> Client | None:
    """Return the client that awaits its cluster, before it sends its id to the scheduler."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code is Client._start.__code__:
            return frame.f_locals["self"]
        frame = frame.f_back
    return None


def _tag(client: Client, uid: str) -> None:
    """Put the UID of a FlowRun into the id of a client, so that the keeper releases the client's data with the FlowRun.

    A client can have a name, which is a part of its id. ``Client(cluster)`` has no name.
    """
    if tags.DASK_MARK in client.id:
        return
    kind, _, rest = client.id.partition("-")
    name, uuid = rest[: -tags.DASK_REST], rest[-tags.DASK_REST + 1 :]
    client.id = f"{kind}-{tags.dask_client_name(uid, name or None)}-{uuid}"
