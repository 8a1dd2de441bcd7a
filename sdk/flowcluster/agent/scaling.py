"""From the work at a scheduler to the demand in the Lease."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from distributed.core import rpc
from distributed.security import Security

from flowcluster import pickling
from flowcluster.agent import scheduler_side
from flowcluster.agent.bounds import BOUNDS_SECONDS, bounds_in
from flowcluster.agent.messages import Adapt
from flowcluster.agent.scheduler_side import NAME, ScalingPlugin
from flowcluster.errors import KubernetesError
from flowcluster.kube.flow_runs import FlowRuns
from flowcluster_api.lease import Demand

#: Looks that have to fail one after the other before the driver is told.
MANY_FAILURES = 5


class Smoothed:
    """A number that follows another one, with a delay in each direction."""

    def __init__(self, up_delay: float, down_delay: float) -> None:
        self._delays = up_delay, down_delay
        self._history: list[tuple[float, int]] = []
        self.value = 0

    def follow(self, wanted: int, now: float) -> int:
        """The least that was wanted throughout the last `up_delay` seconds, or the most in the last `down_delay`."""
        up, down = self._delays
        self._history.append((now, wanted))
        while len(self._history) > 1 and self._history[1][0] <= now - max(up, down):
            self._history.pop(0)
        least = min(number for _, number in self._recent(now - up))
        most = max(number for _, number in self._recent(now - down))
        self.value = max(self.value, least) if least > self.value else min(self.value, most)
        return self.value

    def _recent(self, since: float) -> list[tuple[float, int]]:
        recent = [item for item in self._history if item[0] > since]
        earlier = [item for item in self._history if item[0] <= since]
        return [*earlier[-1:], *recent]  # what held at that moment counts


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
        """Go on until cancelled. A scheduler that does not answer is asked again."""
        failures = 0
        while True:
            try:
                keys = Security().get_connection_args("client")  # those that Dask's configuration names, if any
                async with rpc(self._wanted.address, connection_args=keys) as scheduler:
                    plugin = pickling.dumps_by_value(ScalingPlugin(), scheduler_side)
                    await scheduler.register_scheduler_plugin(plugin=plugin, name=NAME, idempotent=True)
                    while True:
                        await self._look(scheduler)
                        failures = 0
                        await asyncio.sleep(self._wanted.interval)
            except Exception as error:
                # The Lease tells the driver if the cluster is gone; a single look that fails loses nothing.
                failures += 1
                if failures == MANY_FAILURES:
                    self._complain(f"The cluster does not grow or shrink: its scheduler does not answer ({error!r})")
            await asyncio.sleep(self._wanted.interval)

    async def _look(self, scheduler: Any) -> None:
        await self._refresh_bounds()
        if not self._bounds:
            return
        seen = await getattr(scheduler, f"{NAME}-look")(
            **self._bounds, target_duration=self._wanted.target_duration, idle_seconds=self._wanted.idle_seconds
        )
        self._note(seen["is_busy"], seen["transitions"])
        demand = self._demand.follow(seen["demand"], time.monotonic())
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
