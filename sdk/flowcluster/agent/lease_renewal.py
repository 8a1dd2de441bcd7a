"""Renew a run's Lease while its driver runs, and release it at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from flowcluster.agent import micro_time
from flowcluster.agent.driver_process import DriverProcess
from flowcluster.agent.pending_report import PendingReport
from flowcluster.agent.protocol import AgentJob, Lost
from flowcluster.errors import KubernetesError
from flowcluster.kube.flow_runs import FlowRuns, is_out_of_reach
from flowcluster_api import child_runs, conditions, lease
from flowcluster_api.driver import Outcome
from flowcluster_api.progress import Progress

#: Seconds between two checks of the driver, and seconds to wait after a failed attempt.
LOOK_SECONDS, RETRY_SECONDS = 0.5, 1.0
#: Seconds between two attempts while the operator has not created the Lease: at first, and at most.
FIRST_MISSING, LONGEST_MISSING = 0.5, 5.0

_OVER = {"Stopping", *conditions.FINAL_PHASES}


class LeaseRenewer:
    """Renews one Lease, and reports the driver's demand and progress with each renewal.

    Args:
        job: the run and its Lease.
        flow_runs: client for the run's namespace.
        driver: the process that uses the cluster.
        report: has the demand. While it is urgent, the renewal is immediate.
        progress: returns the progress to report with each renewal.
    """

    def __init__(
        self,
        job: AgentJob,
        flow_runs: FlowRuns,
        driver: DriverProcess,
        report: PendingReport,
        progress: Callable[[], Progress | None] = lambda: None,
    ) -> None:
        self._job, self._flow_runs, self._driver = job, flow_runs, driver
        self._report, self._progress = report, progress
        self._acquired = micro_time.now()
        self._was_there = False

    async def keep(self) -> Lost:
        """Renew the Lease in time, until the run has ended without this driver. Return how it ended.

        Do not renew the Lease while the driver is stopped: a driver that is stopped for longer than the duration of
        the lease loses its run.
        """
        due, missing = 0.0, FIRST_MISSING
        while True:
            is_due = time.monotonic() >= due or (self._report.is_urgent and self._was_there)
            if is_due and not self._driver.is_stopped():
                try:
                    await self._renew()
                    due = time.monotonic() + self._job.duration / lease.RENEWALS
                except KubernetesError as error:
                    if is_out_of_reach(error):
                        if lost := await self.ended():
                            return lost
                        due = time.monotonic() + missing
                        missing = min(1.2 * missing, LONGEST_MISSING)
                    else:
                        # The operator cannot end the run in the meantime. Either it does not reach the API server, too,
                        # or it reads the Lease there before it counts the driver as lost.
                        due = time.monotonic() + RETRY_SECONDS
            if self._report.is_urgent:  # the report could not be sent, or has changed meanwhile
                await asyncio.sleep(LOOK_SECONDS)
            else:
                await self._report.wait(LOOK_SECONDS)

    async def release(self, outcome: str) -> None:
        """End the lease immediately.

        Args:
            outcome: the driver's outcome, in the form of `Outcome.to_json`.

        Raises:
            KubernetesError: the lease could not be ended, and lasts until it expires.
        """
        ending = lease.release(Outcome.from_json(outcome))
        try:
            await asyncio.to_thread(self._flow_runs.patch_lease, self._job.lease, ending)
        except KubernetesError as error:
            if self._job.parent_lease is not None:  # the Lease, or the permission for it, can still be missing
                request = child_runs.cancel(self._job.run)
                await asyncio.to_thread(self._flow_runs.patch_lease, self._job.parent_lease, request)
                return
            if not is_out_of_reach(error):
                raise
            run = await self._run()
            if run is not None and not _is_over(run):  # the operator has not created the Lease yet
                await asyncio.to_thread(self._flow_runs.patch, self._job.run, {"cancel": True})

    async def _renew(self) -> None:
        with self._report.sending() as demand:
            now, progress = micro_time.now(), self._progress()
            patch = lease.renewal(self._job.holder, self._job.duration, now, self._acquired, demand, progress)
            await asyncio.to_thread(self._flow_runs.patch_lease, self._job.lease, patch)
        self._was_there = True

    async def ended(self) -> Lost | None:
        """Return how the run ended; None if it has not ended, or if the API server does not answer."""
        try:
            run = await self._run()
        except KubernetesError:
            return None
        return how_ended(run, self._job.run, self._was_there)

    async def _run(self) -> dict[str, Any] | None:
        return await asyncio.to_thread(self._flow_runs.find, self._job.run, self._job.uid)


def how_ended(run: dict[str, Any] | None, name: str, was_running: bool) -> Lost | None:
    """Return how a FlowRun ended; None if it has not.

    Args:
        run: the FlowRun; None if it does not exist.
        name: name of the FlowRun.
        was_running: whether its cluster has existed. A run that starts suspended has not ended.
    """
    if run is None or "deletionTimestamp" in run["metadata"]:
        return Lost("Deleted", f"FlowRun {name} was deleted")
    status = run.get("status") or {}
    if _is_over(run) or (status.get("phase") == "Suspended" and was_running):
        return Lost(status.get("reason") or "Unknown", status.get("message") or f"FlowRun {name} ended")
    return None


def _is_over(run: dict[str, Any]) -> bool:
    return (run.get("status") or {}).get("phase") in _OVER
