"""Flows that run until something ends them."""

import threading

from flowcluster import flow, task


@task
def nap(_: None = None) -> bool:
    return threading.Event().wait()


@flow
def naps() -> bool:
    """Wait for a task that never ends."""
    return nap.submit().result()


@flow
def waits() -> None:
    """Submit nothing and never end."""
    threading.Event().wait()


@flow
def crowd() -> None:
    """Wait for more tasks that never end than one worker can run."""
    for future in nap.map([None] * 4):
        future.wait()
