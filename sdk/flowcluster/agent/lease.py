"""Keeping the run's Lease: renewed while the driver lives, ended when it says so or has ended itself."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import Callable
from typing import Any

from flowcluster.agent.driver import Driver
from flowcluster.agent.messages import Job, Lost
from flowcluster.errors import KubernetesError
from flowcluster.kube.flow_runs import FlowRuns, is_out_of_reach
from flowcluster_api import child_runs, conditions, lease
from flowcluster_api.driver import Outcome
from flowcluster_api.progress import Progress

#: Seconds between two looks at the driver, and between attempts that failed.
LOOK_SECONDS, RETRY_SECONDS = 0.5, 1.0
#: Seconds between looks for a Lease that the operator has not made yet: at first, and at most where the run waits long.
FIRST_MISSING, LONGEST_MISSING = 0.5, 5.0

_OVER = {"Stopping", *conditions.FINAL_PHASES}


class LeaseKeeper:
    """Keeps one Lease.

    Each renewal reports the driver's progress. A new demand is reported immediately, and so is work after an idle time.
    """

    def __init__(
        self, job: Job, flow_runs: FlowRuns, driver: Driver, progress: Callable[[], Progress | None] = lambda: None
    ) -> None:
        self._job, self._flow_runs, self._driver, self._progress = job, flow_runs, driver, progress
        self._acquired = _now()
        self._was_there = False
        self._demand: lease.Demand | None = None
        self._news = asyncio.Event()

    def publish(self, demand: lease.Demand) -> None:
        """Tell the operator what the driver needs, at once if it is news."""
        if demand != self._demand:
            self._demand = demand
            self._news.set()

    def wake(self) -> None:
        """Renew immediately: there is work again."""
        self._news.set()

    async def keep(self) -> Lost:
        """Renew in time, until somebody else has ended the run.

        The driver's stops are passed on: one that is stopped for longer than the lease lasts, loses it.
        """
        due, missing = 0.0, FIRST_MISSING
        while True:
            is_due = time.monotonic() >= due or (self._news.is_set() and self._was_there)
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
                        # Nobody can end the run meanwhile: the operator does not reach the API server either, or it
                        # looks there for a renewal before it calls the driver silent.
                        due = time.monotonic() + RETRY_SECONDS
            if self._news.is_set():  # it could not be told
                await asyncio.sleep(LOOK_SECONDS)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._news.wait()

    async def release(self, outcome: str) -> None:
        """End the lease at once. Raises `KubernetesError` if it goes on to run until it is out."""
        ending = lease.release(Outcome.from_json(outcome))
        try:
            await asyncio.to_thread(self._flow_runs.patch_lease, self._job.lease, ending)
        except KubernetesError as error:
            if self._job.parent_lease is not None:  # there is perhaps no Lease yet, or no right to it
                request = child_runs.cancel(self._job.run)
                await asyncio.to_thread(self._flow_runs.patch_lease, self._job.parent_lease, request)
                return
            if not is_out_of_reach(error):
                raise
            run = await self._run()
            if run is not None and not _is_over(run):  # there is nothing of it yet, and there need not be
                await asyncio.to_thread(self._flow_runs.patch, self._job.run, {"cancel": True})

    async def _renew(self) -> None:
        told = self._demand
        patch = lease.renewal(self._job.holder, self._job.duration, _now(), self._acquired, told, self._progress())
        await asyncio.to_thread(self._flow_runs.patch_lease, self._job.lease, patch)
        self._was_there = True
        if self._demand == told:
            self._news.clear()

    async def ended(self) -> Lost | None:
        """How the run ended; None if it has not, or if it has not begun."""
        try:
            run = await self._run()
        except KubernetesError:
            return None
        return how_ended(run, self._job.run, self._was_there)

    async def _run(self) -> dict[str, Any] | None:
        return await asyncio.to_thread(self._flow_runs.find, self._job.run, self._job.uid)


def how_ended(run: dict[str, Any] | None, name: str, was_running: bool) -> Lost | None:
    """Return how the FlowRun of that name ended, from the object or its absence; None if it has not.

    `was_running` is whether its cluster existed: a run that starts suspended has not ended.
    """
    if run is None or "deletionTimestamp" in run["metadata"]:
        return Lost("Deleted", f"FlowRun {name} was deleted")
    status = run.get("status") or {}
    if _is_over(run) or (status.get("phase") == "Suspended" and was_running):
        return Lost(status.get("reason") or "Unknown", status.get("message") or f"FlowRun {name} ended")
    return None


def _is_over(run: dict[str, Any]) -> bool:
    return (run.get("status") or {}).get("phase") in _OVER


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
