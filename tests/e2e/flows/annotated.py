"""Flows that the test controls: they wait until the test has put annotations on their FlowRun."""

import os
import threading
import time

from flowcluster import flow, get_dask_client, task
from flowcluster.kube.access import connect
from flowcluster.kube.choice import Choice
from flowcluster.kube.flow_runs import FlowRuns

#: Longest time that a flow waits for an annotation.
LIMIT_SECONDS = 180
#: Time between two reads of the FlowRun.
READ_SECONDS = 0.2
#: Name of the event for which the tasks of `wave` wait.
RELEASED = "released"


def wait_for_annotation(name: str, limit: float = LIMIT_SECONDS) -> None:
    """Wait until the run's own FlowRun, which its driver can read, has an annotation of this name."""
    flow_runs = FlowRuns(connect(Choice()))
    deadline = time.monotonic() + limit
    while name not in flow_runs.get(os.environ["FLOWCLUSTER_RUN_NAME"])["metadata"].get("annotations", {}):
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {limit} s the FlowRun has no annotation '{name}'")
        threading.Event().wait(READ_SECONDS)


@task
def echo(value: float) -> float:
    return value


@flow
def echoes(value: float) -> float:
    """Submit a task after the annotation `end`."""
    wait_for_annotation("end")
    return echo.submit(value).result()


@task
def size(data: bytes) -> int:
    return len(data)


@flow
def sends(is_held: bool) -> int:
    """Send a million bytes to a task, after the annotation `end` if the flow is held.

    On Ray, that many bytes stay at the driver, and the worker fetches them from there.
    """
    if is_held:
        wait_for_annotation("end", 600)
    return size.submit(bytes(1_000_000)).result()


@task
def hold(number: int) -> int:
    """Run on a Dask worker until the flow releases all such tasks."""
    from distributed import Event

    Event(RELEASED).wait()
    return number


@flow
def wave() -> list[int]:
    """Submit tasks after the annotation `work`, let them end after `release`, and end after `end`."""
    from distributed import Event

    wait_for_annotation("work")
    futures = hold.map(range(6))
    wait_for_annotation("release")
    with get_dask_client() as client:
        Event(RELEASED, client=client).set()
    results = [future.result() for future in futures]
    wait_for_annotation("end")
    return results


@task
def addresses() -> list[str]:
    """Return the addresses of the Dask worker and of its scheduler."""
    from distributed import get_worker

    return [get_worker().address, get_worker().scheduler.address]


@flow
def host() -> list[str]:
    """Use the cluster, hold it until the annotation `end`, and use it again."""
    before = addresses.submit().result()
    wait_for_annotation("end")
    return before + addresses.submit().result()


@task
def place(_: int) -> str:
    """Return the name of the pod in which this runs."""
    # Shorter tasks would all end on the first worker, before another one has started.
    threading.Event().wait(1)
    return os.uname().nodename


@flow
def later() -> int:
    """Submit tasks after the annotation `work`; return on how many pods they ran."""
    wait_for_annotation("work")
    return len({future.result() for future in place.map(range(4))})
