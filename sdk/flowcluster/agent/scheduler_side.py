"""What looks at the work from inside a Dask scheduler: how many workers it needs, and which of them may go.

Sent there by value, since the scheduler's image need not have flowcluster in it: only distributed is imported.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

from distributed.core import Status
from distributed.diagnostics.plugin import SchedulerPlugin

NAME = "flowcluster-scaling"

#: States of tasks that could run now, had they a thread.
_READY = ("processing", "queued", "no-worker")
#: Share of the workers' memory above which twice as many are needed, as in Dask's own adaptive scaling.
_FULL = 0.6


class ScalingPlugin(SchedulerPlugin):  # type: ignore[misc] # distributed is not typed
    """Counts the work and retires workers that have none.

    A worker that retires takes no more tasks, ends those that it has and gives its results to others. It stays
    connected until its pod is removed: closing it here would have Kubernetes restart it.
    """

    name = NAME
    idempotent = True

    async def start(self, scheduler: Any) -> None:
        """Become reachable by the agent."""
        self.scheduler = scheduler
        self._idle_since: dict[str, float] = {}
        self._retiring: dict[str, asyncio.Task[Any]] = {}
        scheduler.handlers[f"{NAME}-look"] = self.look

    def look(
        self, minimum: int, maximum: int, threads: int, target_duration: float, idle_seconds: float
    ) -> dict[str, Any]:
        """Return how many workers the work needs, the names of those that have retired, and whether there is work.

        Further workers begin to retire if there are more than the work needs, or than `maximum`. `threads` is the
        number of threads of a worker, for the time before the first one exists.
        """
        now = time.monotonic()
        active = [ws for ws in self.scheduler.workers.values() if ws.status is not Status.closing_gracefully]
        demand = self._demand(active, threads, target_duration)
        self._note_idle(active, now)
        for ws in self._surplus(active, min(max(demand, minimum), maximum), maximum, now - idle_seconds):
            retiring = self.scheduler.retire_workers(workers=[ws.address], close_workers=False, remove=False)
            self._retiring[ws.address] = asyncio.create_task(retiring)
        return {
            "demand": demand,
            "retired": self._retired(),
            "is_busy": self._is_busy(),
            "transitions": self.scheduler.transition_counter,
        }

    def _is_busy(self) -> bool:
        """Whether tasks are or could be executed. Methods of actors are called past the scheduler."""
        prefixes = self.scheduler.task_prefixes.values()
        has_tasks = any(prefix.states.get(state, 0) for prefix in prefixes for state in _READY)
        return has_tasks or any(ws.actors for ws in self.scheduler.workers.values())

    def _demand(self, active: list[Any], threads: int, target_duration: float) -> int:
        """Tasks that nobody has timed yet count as a thread each; others as the time that they take altogether."""
        needed = 0.0
        for prefix in self.scheduler.task_prefixes.values():
            if ready := sum(prefix.states.get(state, 0) for state in _READY):
                average = prefix.duration_average
                needed += ready if average < 0 else min(ready, ready * average / target_duration)
        if active:
            threads = max(1, round(sum(ws.nthreads for ws in active) / len(active)))
        workers = math.ceil(needed / threads)
        limit = sum(ws.memory_limit or 0 for ws in active)
        if limit and sum(ws.nbytes for ws in active) > _FULL * limit:
            workers = max(workers, 2 * len(active))
        return workers

    def _note_idle(self, active: list[Any], now: float) -> None:
        idle = {ws.address for ws in active if not ws.processing and not ws.actors}
        self._idle_since = {address: self._idle_since.get(address, now) for address in idle}

    def _surplus(self, active: list[Any], wanted: int, maximum: int, idle_before: float) -> list[Any]:
        """Who retires: idle workers that nobody needs, those with least data first; above the maximum, others too."""
        by_cost = sorted(active, key=lambda ws: (len(ws.processing), bool(ws.actors), ws.nbytes))
        long_idle = [ws for ws in by_cost if self._idle_since.get(ws.address, math.inf) <= idle_before]
        chosen = long_idle[: max(len(active) - wanted, 0)]
        for ws in by_cost:
            if len(chosen) >= len(active) - maximum:
                break
            if ws not in chosen:
                chosen.append(ws)
        if chosen and len(chosen) == len(active) and any(ws.has_what for ws in active):
            # Somebody has to keep the results that nobody has fetched.
            chosen.remove(max(chosen, key=lambda ws: ws.nbytes))
        return chosen

    def _retired(self) -> list[str]:
        names = []
        for address, task in list(self._retiring.items()):
            ws = self.scheduler.workers.get(address)
            if ws is None:
                del self._retiring[address]
            elif task.done():
                if task.cancelled() or task.exception() or ws.status is not Status.closing_gracefully:
                    del self._retiring[address]  # its results could not be moved: it goes on as before
                elif not ws.processing:
                    names.append(str(ws.name))
        return sorted(names)
