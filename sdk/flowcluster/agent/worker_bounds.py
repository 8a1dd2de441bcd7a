"""The bounds of workers in a FlowRun, and the wait for edits of them. Users can edit them while the run is live."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from flowcluster.errors import KubernetesError
from flowcluster_api.bounds import default_maximum

#: Seconds between two reads of the FlowRun.
BOUNDS_SECONDS = 10.0


def bounds_in(flow_run: Mapping[str, Any]) -> dict[str, int]:
    """Return `minimum`, `maximum` and `threads` of the workers of a FlowRun."""
    workers = flow_run["spec"]["cluster"].get("workers") or {}
    minimum = workers.get("minimum", 0)
    return {
        "minimum": minimum,
        "maximum": workers.get("maximum", default_maximum(minimum)),
        "threads": workers.get("threads", 1),
    }


async def wait_until_scaling_is_needed(read: Callable[[], Mapping[str, Any]], seconds: float = BOUNDS_SECONDS) -> None:
    """Wait until the agent has to poll the scheduler.

    The agent has to poll when the minimum is less than the maximum, when the bounds have changed since the first read,
    or when the run has an idle timeout.

    Args:
        read: returns the FlowRun. It runs in a thread. A read that raises `KubernetesError` is repeated.
        seconds: seconds between two reads.
    """
    first = None
    while True:
        try:
            run = await asyncio.to_thread(read)
        except KubernetesError:
            run = None
        if run is not None:
            found = bounds_in(run)
            first = first or found
            if found["minimum"] < found["maximum"] or found != first or "idleTimeoutSeconds" in run["spec"]:
                return
        await asyncio.sleep(seconds)
