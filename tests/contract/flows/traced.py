"""A task that blocks beyond its time limit, while a debugger traces every thread."""

from __future__ import annotations

import sys
import threading
from typing import Any

from flowcluster import flow, task


@task(timeout_seconds=0.2)
def blocks() -> None:
    # A lock that is never free: no step in Python happens here.
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


@flow
def body() -> str:
    return blocks.submit().wait().name


def trace(*_: Any) -> Any:
    return trace


if __name__ == "__main__":
    threading.settrace(trace)
    sys.settrace(trace)
    state = body(return_state=True)
    sys.settrace(None)
    print(state.result(raise_on_failure=False))
