"""Flows whose tasks request resources from Ray, survive their worker, or report where they ran."""

import os
import threading
from typing import Any

from flowcluster import flow, get_run_context, remote_options, task


@task
def place(number: int = 0) -> str:
    """Return the name of the pod in which this runs."""
    print(f"task {number}", flush=True)
    return os.uname().nodename


@flow
def places(count: int = 4) -> list[str]:
    """Return the names of the pods in which tasks ran."""
    return sorted({future.result() for future in place.map(range(count))})


@flow
def demanding() -> list[Any]:
    """Return where a task ran that requests a GPU, and why a task cannot run that requests too much."""
    with remote_options(num_gpus=1, resources={"desk": 1}):
        possible = place.submit()
    with remote_options(resources={"desk": 2}):
        impossible = place.submit()
    assert impossible.done()
    return [possible.result(), impossible.state.message]


@task(retries=1)
def stubborn() -> int:
    """Never end at the first attempt."""
    print("it runs", flush=True)
    run = get_run_context()
    if run.run_count == 1:
        threading.Event().wait()
    return run.run_count


@flow
def survives() -> int:
    return stubborn.submit().result()
