"""Scaling of a run's Dask cluster: from the work at its scheduler to the demand in the Lease."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from flowcluster.agent import scaling_plugin
from flowcluster.agent.protocol import Adapt
from flowcluster.agent.scaling_plugin import NAME, Group, ScalingPlugin
from flowcluster.agent.scheduler_polling import MANY_FAILURES, poll_scheduler
from flowcluster.agent.smoothing import SmoothedDemand
from flowcluster.agent.worker_bounds import BOUNDS_SECONDS, bounds_in
from flowcluster.errors import KubernetesError
from flowcluster.kube.flow_runs import FlowRuns
from flowcluster_api.lease import Demand


class Scaling:
    """Polls the scheduler and publishes the demand when it changes.

    Args:
        request: the scheduler's address, the interval and the delays.
        run: name of the FlowRun, which has the bounds.
        flow_runs: client for the run's namespace.
        publish: called with each demand.
        warn: called with a failure, as text.
        record: called with each observation: whether the scheduler has work, and the transitions of its tasks.
    """

    def __init__(
        self,
        request: Adapt,
        run: str,
        flow_runs: FlowRuns,
        publish: Callable[[Demand], None],
        warn: Callable[[str], None],
        record: Callable[[bool, int], None],
    ) -> None:
        self._request, self._run, self._flow_runs = request, run, flow_runs
        self._publish, self._warn, self._record = publish, warn, record
        self._demand = SmoothedDemand(request.up_delay, request.down_delay)
        self._bounds: dict[str, int] = {}
        self._bounds_due = 0.0

    async def run(self) -> None:
        """Poll until cancelled. A poll that fails is repeated."""
        address, interval = self._request.address, self._request.interval
        await poll_scheduler(address, interval, {NAME: (ScalingPlugin(), scaling_plugin)}, self._poll, self._report)

    def _report(self, failures: int, error: Exception) -> None:
        # If the cluster is lost, the agent reports that from the FlowRun. A single failed poll has no effect.
        if failures == MANY_FAILURES:
            self._warn(f"The cluster does not grow or shrink: its scheduler does not answer ({error!r})")

    async def _poll(self, scheduler: Any) -> None:
        await self._refresh_bounds()
        if not self._bounds:
            return
        all_workers = Group("", "", self._bounds["minimum"], self._bounds["maximum"], self._bounds["threads"], {})
        seen = await getattr(scheduler, f"{NAME}-look")(
            groups=[all_workers],
            target_duration=self._request.target_duration,
            idle_seconds=self._request.idle_seconds,
        )
        self._record(seen["is_busy"], seen["transitions"])
        demand = self._demand.follow(seen["demand"][""], time.monotonic())
        # The operator enforces the bounds in any case. Each change of the demand is a write to the Lease, and the
        # clamped demand changes less often.
        workers = min(max(demand, self._bounds["minimum"]), self._bounds["maximum"])
        self._publish(Demand(workers, tuple(seen["retired"])))

    async def _refresh_bounds(self) -> None:
        if time.monotonic() < self._bounds_due:
            return
        try:
            run = await asyncio.to_thread(self._flow_runs.get, self._run)
        except KubernetesError:
            return
        self._bounds_due = time.monotonic() + BOUNDS_SECONDS
        self._bounds = bounds_in(run)
