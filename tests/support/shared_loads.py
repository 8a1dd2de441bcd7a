"""What runs have executed on a shared Dask cluster, and what they still have there, as its scheduler has it."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from distributed import Client

from tests.support.world import World

#: As in ``tests/e2e/flows/shared_loads.py``.
BEGIN, EXECUTED = "begin", "executed"


class Executed(NamedTuple):
    """Executions of the tasks of ``shared_loads.py``.

    Attributes:
        times: how often each task was executed, by name of the run and number of the task.
        ends: when the last task of each run ended, by name of the run.
        began: when the first task began.
    """

    times: Counter[tuple[str, int]]
    ends: dict[str, float]
    began: float


def executed(client: Client) -> Executed:
    """Return all executions so far."""
    events = [event for _, event in client.get_events(EXECUTED)]
    ends: dict[str, float] = {}
    for event in events:
        ends[event["run"]] = max(event["ended"], ends.get(event["run"], 0.0))
    times = Counter((event["run"], event["number"]) for event in events)
    return Executed(times, ends, min((event["began"] for event in events), default=0.0))


def runs_at(client: Client) -> set[str]:
    """Return the UIDs of all runs that are connected to the scheduler, or were and are not released."""
    return set(client.run_on_scheduler(_connected))


def keys_of(client: Client, uid: str) -> set[str]:
    """Return the keys of all tasks that clients of a run want at the scheduler."""
    return set(client.run_on_scheduler(_wanted, uid=uid))


def known_keys(client: Client) -> set[str]:
    """Return the keys of all tasks at the scheduler."""
    return set(client.run_on_scheduler(_all))


def uid_of(world: World, name: str) -> str:
    """Return the UID of a FlowRun."""
    run = world.run(name)
    assert run is not None
    return str(run["metadata"]["uid"])


def fair_seconds(loads: dict[str, float], threads: int) -> dict[str, float]:
    """Return when each of several runs would end that begin together and have equal parts of the threads.

    Args:
        loads: seconds of work of each run.
        threads: of the cluster.
    """
    return {name: sum(min(load, other) for other in loads.values()) / threads for name, load in loads.items()}


# These travel by value: the scheduler does not have this module.
def _connected(dask_scheduler: Any) -> list[str]:
    return list(dask_scheduler.plugins["flowcluster-runs"].clients)


def _wanted(uid: str, dask_scheduler: Any) -> list[str]:
    clients = dask_scheduler.plugins["flowcluster-runs"].clients.get(uid, set()) & set(dask_scheduler.clients)
    return [str(ts.key) for client in clients for ts in dask_scheduler.clients[client].wants_what]


def _all(dask_scheduler: Any) -> list[str]:
    return [str(key) for key in dask_scheduler.tasks]


_connected.__module__ = _wanted.__module__ = _all.__module__ = "__main__"
