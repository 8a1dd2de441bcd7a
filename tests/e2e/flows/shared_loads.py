"""A flow whose load on a shared Dask cluster is known, and whose tasks record each execution at the scheduler."""

import os
import time

from flowcluster import flow, get_dask_client, task

#: Event for which runs wait that start together, and topic of what tasks record.
BEGIN, EXECUTED = "begin", "executed"


@task
def square(run: str, number: int, seconds: float) -> int:
    from distributed import get_worker

    began = time.time()
    time.sleep(seconds)
    get_worker().log_event(EXECUTED, {"run": run, "number": number, "began": began, "ended": time.time()})
    return number * number


@flow
def squares(count: int, seconds: float, waits: bool = False) -> int:
    """Return the sum of squares, computed by `count` tasks of `seconds` each; wait for the event first if `waits`."""
    run = os.environ["FLOWCLUSTER_RUN_NAME"]
    if waits:
        from distributed import Event

        with get_dask_client() as client:
            Event(BEGIN, client=client).wait()
    return sum(future.result() for future in square.map([run] * count, range(count), [seconds] * count))
