"""The bounds of a cluster's workers, as they stand in the FlowRun: users can edit them while the run is live."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from flowcluster.errors import KubernetesError

#: Seconds between two looks at the FlowRun.
BOUNDS_SECONDS = 10.0


def bounds_in(flow_run: Mapping[str, Any]) -> dict[str, int]:
    """Return `minimum`, `maximum` and `threads` of the workers of a FlowRun."""
    workers = flow_run["spec"]["cluster"].get("workers") or {}
    minimum = workers.get("minimum", 0)
    return {
        "minimum": minimum,
        "maximum": workers.get("maximum", max(minimum, 1)),
        "threads": workers.get("threads", 1),
    }


async def until_edited(read: Callable[[], Mapping[str, Any]], seconds: float = BOUNDS_SECONDS) -> None:
    """Wait until the bounds differ from each other, or from what they are at first.

    Args:
        read: returns the FlowRun. It runs in a thread; a look that raises `KubernetesError` is repeated.
        seconds: between two looks.
    """
    first = None
    while True:
        try:
            found = bounds_in(await asyncio.to_thread(read))
        except KubernetesError:
            found = None
        if found is not None:
            first = first or found
            if found["minimum"] < found["maximum"] or found != first:
                return
        await asyncio.sleep(seconds)
