"""From the work at a scheduler to the demand in the Lease."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from flowcluster.agent import scheduler_side
from flowcluster.agent.attending import MANY_FAILURES, attend
from flowcluster.agent.bounds import BOUNDS_SECONDS, bounds_in
from flowcluster.agent.messages import Adapt
from flowcluster.agent.scheduler_side import NAME, Group, ScalingPlugin
from flowcluster.agent.smoothed import Smoothed
from flowcluster.errors import KubernetesError
from flowcluster.kube.flow_runs import FlowRuns
from flowcluster_api.lease import Demand


class Scaling:
    """Looks at the scheduler in intervals and publishes what changes."""

    def __init__(
        self,
        wanted: Adapt,
        run: str,
        flow_runs: FlowRuns,
        publish: Callable[[Demand], None],
        complain: Callable[[str], None],
        note: Callable[[bool, int], None],
    ) -> None:
        self._wanted, self._run, self._flow_runs = wanted, run, flow_runs
        self._publish, self._complain, self._note = publish, complain, note
        self._demand = Smoothed(wanted.up_delay, wanted.down_delay)
        self._bounds: dict[str, int] = {}
        self._bounds_due = 0.0

    async def run(self) -> None:
        """Look until cancelled. A look that fails is repeated."""
        address, interval = self._wanted.address, self._wanted.interval
        await attend(address, interval, {NAME: (ScalingPlugin(), scheduler_side)}, self._look, self._report)

    def _report(self, failures: int, error: Exception) -> None:
        # The Lease informs the driver if the cluster is gone; a single look that fails loses nothing.
        if failures == MANY_FAILURES:
            self._complain(f"The cluster does not grow or shrink: its scheduler does not answer ({error!r})")

    async def _look(self, scheduler: Any) -> None:
        await self._refresh_bounds()
        if not self._bounds:
            return
        every = Group("", "", self._bounds["minimum"], self._bounds["maximum"], self._bounds["threads"], {})
        seen = await getattr(scheduler, f"{NAME}-look")(
            groups=[every], target_duration=self._wanted.target_duration, idle_seconds=self._wanted.idle_seconds
        )
        self._note(seen["is_busy"], seen["transitions"])
        demand = self._demand.follow(seen["demand"][""], time.monotonic())
        # Within the bounds, as the operator keeps to them in any case: each change is a write to the Lease.
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
