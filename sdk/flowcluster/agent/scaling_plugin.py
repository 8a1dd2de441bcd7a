"""The plugin in a Dask scheduler that computes the demand: how many workers the work needs. It also retires workers.

The agent or the keeper sends the plugin by value, because the scheduler's image does not have to contain flowcluster.
So this module imports only the standard library and distributed.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import Counter
from typing import Any, NamedTuple

from distributed.core import Status
from distributed.diagnostics.plugin import SchedulerPlugin

NAME = "flowcluster-scaling"

#: States of tasks that run, or could run with a free thread.
_READY = ("processing", "queued", "no-worker")
#: Share of the workers' memory above which twice as many workers are needed, as in Dask's own adaptive scaling.
_FULL = 0.6
#: The text that dask-kubernetes puts between the name of a DaskWorkerGroup and the rest of a worker's name.
_WORKER = "-worker-"
#: A number of tasks that stands for "without a limit", and the largest rounding error of a sum of many fractions.
_MANY, _ROUNDING = 1_000_000, 1e-9


class Group(NamedTuple):
    """Workers that are scaled together.

    Attributes:
        name: the group's name in the demand.
        owner: the prefix of its workers' names, before `_WORKER`. Other workers belong to the first group.
        minimum: the minimum of workers.
        maximum: the maximum of workers.
        threads: threads of each worker, for the time before the first worker exists.
        resources: amounts that each worker offers to tasks, by name.
    """

    name: str
    owner: str
    minimum: int
    maximum: int
    threads: int
    resources: dict[str, float]


class ScalingPlugin(SchedulerPlugin):  # type: ignore[misc] # distributed is not typed
    """Computes the demand and retires workers that are not needed.

    A retiring worker accepts no tasks, completes its tasks, and copies its results to other workers. It stays connected
    until its pod is deleted: if the plugin closed it, Kubernetes would restart it.
    """

    name = NAME
    idempotent = True

    async def start(self, scheduler: Any) -> None:
        """Add the handler that the agent calls."""
        self.scheduler = scheduler
        self._idle_since: dict[str, float] = {}
        self._retiring: dict[str, asyncio.Task[Any]] = {}
        scheduler.handlers[f"{NAME}-look"] = self.look

    def look(self, groups: list[list[Any]], target_duration: float, idle_seconds: float) -> dict[str, Any]:
        """Start to retire the workers of a group that the work does not need, or that exceed the group's maximum.

        Args:
            groups: fields of each `Group`, at least one.
            target_duration: seconds in which all tasks of known duration should end.
            idle_seconds: seconds for which a worker must have had no work before it retires.

        Returns:
            ``demand`` by the name of the group, names of ``retired`` workers, whether there is work (``is_busy``), and
            the number of ``transitions`` of tasks.
        """
        now = time.monotonic()
        parts = [Group(*fields) for fields in groups]
        active = [ws for ws in self.scheduler.workers.values() if ws.status is not Status.closing_gracefully]
        members = _members(parts, active)
        demand = self._demand(parts, members, target_duration)
        self._note_idle(active, now)
        chosen: list[Any] = []
        for part in parts:
            target = min(max(demand[part.name], part.minimum), part.maximum)
            chosen += self._surplus(members[part.name], target, part.maximum, now - idle_seconds)
        if chosen and len(chosen) == len(active) and any(ws.has_what for ws in active):
            # One worker must keep the results that no client has fetched.
            chosen.remove(max(chosen, key=lambda ws: ws.nbytes))
        for ws in chosen:
            retiring = self.scheduler.retire_workers(workers=[ws.address], close_workers=False, remove=False)
            self._retiring[ws.address] = asyncio.create_task(retiring)
        return {
            "demand": demand,
            "retired": self._retired(),
            "is_busy": self._is_busy(),
            "transitions": self.scheduler.transition_counter,
        }

    def _is_busy(self) -> bool:
        """Return whether tasks run or could run.

        The scheduler does not observe calls of actors' methods, so a worker with actors always counts as busy.
        """
        prefixes = self.scheduler.task_prefixes.values()
        has_tasks = any(prefix.states.get(state, 0) for prefix in prefixes for state in _READY)
        return has_tasks or any(ws.actors for ws in self.scheduler.workers.values())

    def _demand(self, parts: list[Group], members: dict[str, list[Any]], target_duration: float) -> dict[str, int]:
        """Return the number of workers that each group needs.

        A task of unknown duration counts as one thread. Other tasks count by their total time. A task that requires
        resources counts for the first group that has them, any other task for the first group that can have workers.
        """
        threads = {part.name: _threads(part, members[part.name]) for part in parts}
        home = next((part for part in parts if part.maximum > 0), parts[0]).name
        load = dict.fromkeys(threads, 0.0)  # in threads
        restricted = self._restricted() if len(parts) > 1 else Counter()
        counted: Counter[str] = Counter()
        for (prefix, resources), ready in restricted.items():
            counted[prefix] += ready
            for part in parts:
                if fitting := _fitting(_offered(part, members[part.name]), resources):
                    share = max(threads[part.name] / fitting, 1)
                    load[part.name] += share * self._load(prefix, ready, target_duration)
                    break
        for name, prefix in self.scheduler.task_prefixes.items():
            ready = sum(prefix.states.get(state, 0) for state in _READY) - counted[name]
            load[home] += self._load(name, ready, target_duration)
        return {name: _workers_for(math.ceil(load[name] / threads[name] - _ROUNDING), members[name]) for name in load}

    def _restricted(self) -> Counter[tuple[str, frozenset[tuple[str, float]]]]:
        """Count the tasks that run or could run and require resources, by their prefix and these resources.

        The scheduler never queues such tasks.
        """
        restricted: Counter[Any] = Counter()
        processing = (ts for ws in self.scheduler.workers.values() for ts in ws.processing)
        for ts in itertools.chain(self.scheduler.unrunnable, processing):
            if ts.resource_restrictions:
                restricted[ts.prefix.name, frozenset(ts.resource_restrictions.items())] += 1
        return restricted

    def _load(self, prefix: str, ready: int, target_duration: float) -> float:
        """Return the number of threads that tasks of one prefix need."""
        if ready <= 0:
            return 0
        average = self.scheduler.task_prefixes[prefix].duration_average
        return ready if average < 0 else min(ready, ready * average / target_duration)

    def _note_idle(self, active: list[Any], now: float) -> None:
        idle = {ws.address for ws in active if not ws.processing and not ws.actors}
        self._idle_since = {address: self._idle_since.get(address, now) for address in idle}

    def _surplus(self, active: list[Any], target: int, maximum: int, idle_before: float) -> list[Any]:
        """Return workers to retire: idle ones beyond `target`, with the least data first, and any beyond `maximum`."""
        by_cost = sorted(active, key=lambda ws: (len(ws.processing), bool(ws.actors), ws.nbytes))
        long_idle = [ws for ws in by_cost if self._idle_since.get(ws.address, math.inf) <= idle_before]
        chosen = long_idle[: max(len(active) - target, 0)]
        for ws in by_cost:
            if len(chosen) >= len(active) - maximum:
                break
            if ws not in chosen:
                chosen.append(ws)
        return chosen

    def _retired(self) -> list[str]:
        names = []
        for address, task in list(self._retiring.items()):
            ws = self.scheduler.workers.get(address)
            if ws is None:
                del self._retiring[address]
            elif task.done():
                if task.cancelled() or task.exception() or ws.status is not Status.closing_gracefully:
                    del self._retiring[address]  # its results could not be moved: the worker continues
                elif not ws.processing:
                    names.append(str(ws.name))
        return sorted(names)


def _members(parts: list[Group], workers: list[Any]) -> dict[str, list[Any]]:
    """Return the workers of each group."""
    groups = {part.owner: part.name for part in parts[1:]}
    members: dict[str, list[Any]] = {part.name: [] for part in parts}
    for ws in workers:
        members[groups.get(str(ws.name).rpartition(_WORKER)[0], parts[0].name)].append(ws)
    return members


def _threads(part: Group, workers: list[Any]) -> int:
    """Return the threads of one worker of a group."""
    return max(1, round(sum(ws.nthreads for ws in workers) / len(workers)) if workers else part.threads)


def _offered(part: Group, workers: list[Any]) -> dict[str, float]:
    """Return the resources of a worker of a group, as configured or as the workers report them."""
    offered = dict(part.resources)
    for ws in workers:
        for name, amount in ws.resources.items():
            offered[name] = max(offered.get(name, 0), amount)
    return offered


def _fitting(offered: dict[str, float], resources: frozenset[tuple[str, float]]) -> int:
    """Return the number of tasks with these requirements for which a worker has the resources. Threads do not count."""
    return min(int(offered.get(name, 0) / need) if need else _MANY for name, need in resources)


def _workers_for(workers: int, active: list[Any]) -> int:
    """Return the number of workers that the work needs, or more if the existing ones run out of memory."""
    limit = sum(ws.memory_limit or 0 for ws in active)
    if limit and sum(ws.nbytes for ws in active) > _FULL * limit:
        return max(workers, 2 * len(active))
    return workers
