"""The keeper of a Dask cluster: it scales each worker group, and cleans up after runs."""

from __future__ import annotations

import logging
import time
from typing import Any

from flowcluster.agent import scaling_plugin, shared_runs_plugin
from flowcluster.agent.activity import Activity
from flowcluster.agent.keeper.ended_runs import EndedRuns
from flowcluster.agent.keeper.heartbeat import Heartbeat
from flowcluster.agent.keeper.shares import shares_of
from flowcluster.agent.protocol import Adapt
from flowcluster.agent.scaling_plugin import Group, ScalingPlugin
from flowcluster.agent.scheduler_polling import MANY_FAILURES, poll_scheduler
from flowcluster.agent.shared_runs_plugin import SharedRunsPlugin
from flowcluster.agent.smoothing import SmoothedDemand
from flowcluster_api import names, tags
from flowcluster_api.keeper import Instructions
from flowcluster_api.lease import Demand

logger = logging.getLogger("flowcluster.keeper")

#: Number of polls of the work for one poll of the runs.
_RUNS_EVERY = 2


class DaskKeeper:
    """Polls the scheduler of a shared cluster.

    Args:
        address: of the scheduler.
        cluster: name of the DaskCluster.
        heartbeat: has the instructions, and reports the demand.
        activity: records each observation.
        tempo: the interval between polls, and the delays of the demand. Its address is not used.
    """

    def __init__(
        self,
        address: str,
        cluster: str,
        heartbeat: Heartbeat,
        activity: Activity,
        tempo: Adapt | None = None,
    ) -> None:
        self._address, self._cluster, self._heartbeat, self._activity = address, cluster, heartbeat, activity
        self._tempo = tempo or Adapt(address)
        self._demands: dict[str, SmoothedDemand] = {}
        self._ended_runs = EndedRuns()
        self._polls = 0

    async def run(self) -> None:
        """Poll until cancelled."""
        plugins = {
            scaling_plugin.NAME: (ScalingPlugin(), scaling_plugin),
            shared_runs_plugin.NAME: (SharedRunsPlugin(tags.DASK_MARK, tags.DASK_REST), shared_runs_plugin),
        }
        await poll_scheduler(self._address, self._tempo.interval, plugins, self._poll, self._report)

    def _report(self, failures: int, error: Exception) -> None:
        if failures == MANY_FAILURES:
            logger.warning("The scheduler at %s does not answer; trying again: %r", self._address, error)

    async def _poll(self, scheduler: Any) -> None:
        instructions, reading = self._heartbeat.instructions, self._heartbeat.reading
        if instructions is None or not instructions.groups:
            return
        await self._scale(scheduler, instructions)
        if self._polls % _RUNS_EVERY == 0:
            await self._clean_up(scheduler, instructions, reading)
        self._polls += 1

    async def _scale(self, scheduler: Any, instructions: Instructions) -> None:
        groups = groups_of(instructions, self._cluster)
        seen = await getattr(scheduler, f"{scaling_plugin.NAME}-look")(
            groups=groups, target_duration=self._tempo.target_duration, idle_seconds=self._tempo.idle_seconds
        )
        self._activity.record_scheduler(seen["is_busy"], seen["transitions"])
        now, demand = time.monotonic(), dict[str, int]()
        for group in groups:
            smoothed = self._demands.setdefault(
                group.name, SmoothedDemand(self._tempo.up_delay, self._tempo.down_delay)
            )
            workers = smoothed.follow(seen["demand"][group.name], now)
            # The operator enforces the bounds in any case. Each change of the demand is a write to the Lease, and the
            # clamped demand changes less often.
            demand[group.name] = min(max(workers, group.minimum), group.maximum)
        further = tuple((name, number) for name, number in sorted(demand.items()) if name)
        self._heartbeat.report.publish(Demand(demand.get("", 0), tuple(seen["retired"]), further))

    async def _clean_up(self, scheduler: Any, instructions: Instructions, reading: int) -> None:
        present = await getattr(scheduler, f"{shared_runs_plugin.NAME}-look")(**shares_of(instructions)._asdict())
        if over := self._ended_runs.over(present, instructions.digests, reading):
            logger.info("Releasing data and tasks of ended runs: %s", ", ".join(over))
            await getattr(scheduler, f"{shared_runs_plugin.NAME}-release")(runs=over)


def groups_of(instructions: Instructions, cluster: str) -> list[Group]:
    """Return the worker groups of a cluster, the group of ``spec.workers`` first."""
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
