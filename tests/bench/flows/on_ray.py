"""Flows of `tests.bench.ray_times`: one that connects, and one that measures when its first task runs."""

import threading
import time

from flowcluster import flow, task


@task
def now() -> float:
    return time.time()


@flow
def connects(message: str) -> None:
    """Print the message when the driver is connected, then never end."""
    print(message, flush=True)
    threading.Event().wait()


@flow
def first(settle_seconds: float) -> float:
    """Wait until the cluster has settled, then return the seconds until a task runs."""
    time.sleep(settle_seconds)
    submitted = time.time()
    return now.submit().result() - submitted
