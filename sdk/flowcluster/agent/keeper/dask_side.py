"""What a keeper does at a Dask scheduler: it scales each worker group, and cleans up after runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from flowcluster.agent import runs_side, scheduler_side
from flowcluster.agent.attending import MANY_FAILURES, attend
from flowcluster.agent.keeper.departures import Departures
from flowcluster.agent.keeper.heartbeat import Heartbeat
from flowcluster.agent.keeper.shares import shares_of
from flowcluster.agent.messages import Adapt
from flowcluster.agent.runs_side import RunsPlugin
from flowcluster.agent.scheduler_side import Group, ScalingPlugin
from flowcluster.agent.smoothed import Smoothed
from flowcluster_api import names, tags
from flowcluster_api.keeper import Instructions
from flowcluster_api.lease import Demand

logger = logging.getLogger("flowcluster.keeper")

#: Looks at the work for one at the runs.
_RUNS_EVERY = 2


class DaskSide:
    """Looks at the scheduler in intervals.

    Args:
        address: of the scheduler.
        cluster: name of the DaskCluster.
        heartbeat: has the instructions, and takes the demand.
        looked: gets, with each look, whether there is work, and how many transitions tasks have made.
        tempo: how fast demand follows the work; its address is not used.
    """

    def __init__(
        self,
        address: str,
        cluster: str,
        heartbeat: Heartbeat,
        looked: Callable[[bool, int], None],
        tempo: Adapt | None = None,
    ) -> None:
        self._address, self._cluster, self._heartbeat, self._looked = address, cluster, heartbeat, looked
        self._tempo = tempo or Adapt(address)
        self._demands: dict[str, Smoothed] = {}
        self._departures = Departures()
        self._looks = 0

    async def run(self) -> None:
        """Look until cancelled."""
        plugins = {
            scheduler_side.NAME: (ScalingPlugin(), scheduler_side),
            runs_side.NAME: (RunsPlugin(tags.DASK_MARK, tags.DASK_REST), runs_side),
        }
        await attend(self._address, self._tempo.interval, plugins, self._look, self._report)

    def _report(self, failures: int, error: Exception) -> None:
        if failures == MANY_FAILURES:
            logger.warning("The scheduler at %s does not answer; trying again: %r", self._address, error)

    async def _look(self, scheduler: Any) -> None:
        instructions, reading = self._heartbeat.instructions, self._heartbeat.reading
        if instructions is None or not instructions.groups:
            return
        await self._scale(scheduler, instructions)
        if self._looks % _RUNS_EVERY == 0:
            await self._clean_up(scheduler, instructions, reading)
        self._looks += 1

    async def _scale(self, scheduler: Any, instructions: Instructions) -> None:
        groups = groups_of(instructions, self._cluster)
        seen = await getattr(scheduler, f"{scheduler_side.NAME}-look")(
            groups=groups, target_duration=self._tempo.target_duration, idle_seconds=self._tempo.idle_seconds
        )
        self._looked(seen["is_busy"], seen["transitions"])
        now, demand = time.monotonic(), dict[str, int]()
        for group in groups:
            smoothed = self._demands.setdefault(group.name, Smoothed(self._tempo.up_delay, self._tempo.down_delay))
            workers = smoothed.follow(seen["demand"][group.name], now)
            # Within the bounds, as the operator keeps to them in any case: each change is a write to the Lease.
            demand[group.name] = min(max(workers, group.minimum), group.maximum)
        further = tuple((name, number) for name, number in sorted(demand.items()) if name)
        self._heartbeat.publish(Demand(demand.get("", 0), tuple(seen["retired"]), further))

    async def _clean_up(self, scheduler: Any, instructions: Instructions, reading: int) -> None:
        present = await getattr(scheduler, f"{runs_side.NAME}-look")(**shares_of(instructions)._asdict())
        if over := self._departures.over(present, instructions.digests, reading):
            logger.info("Releasing what is left of runs that are over: %s", ", ".join(over))
            await getattr(scheduler, f"{runs_side.NAME}-release")(runs=over)


def groups_of(instructions: Instructions, cluster: str) -> list[Group]:
    """Return the worker groups of a cluster, that of ``spec.workers`` first."""
    return [
        Group(
            name,
            names.group_name(cluster, name or "default"),
            bounds.minimum,
            bounds.maximum,
            bounds.threads,
            dict(bounds.resources),
        )
        for name, bounds in sorted(instructions.groups)
    ]
