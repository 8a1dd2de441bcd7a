"""What an agent reads in the FlowRun that users can edit while the run is live: the bounds of workers, idleness."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from flowcluster.errors import KubernetesError
from flowcluster_api.bounds import default_maximum

#: Seconds between two looks at the FlowRun.
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


async def until_edited(read: Callable[[], Mapping[str, Any]], seconds: float = BOUNDS_SECONDS) -> None:
    """Wait until the agent has to look at the scheduler.

    That is when the bounds differ from each other, or from what they are at first, or when the run has an idle timeout.

    Args:
        read: returns the FlowRun. It runs in a thread; a look that raises `KubernetesError` is repeated.
        seconds: between two looks.
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
