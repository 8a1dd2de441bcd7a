"""Flows of `tests.bench.run_times`: when the first task runs, and what imports take in a driver."""

import time
from typing import Any

from flowcluster import flow, task


@task
def now() -> float:
    return time.time()


@flow
def first() -> dict[str, Any]:
    return {"first": now.submit().result()}


@flow
def imports() -> dict[str, float]:
    with open("/proc/self/stat") as stat, open("/proc/uptime") as uptime:
        ticks = int(stat.read().rsplit(")", 1)[1].split()[19])
        age = float(uptime.read().split()[0]) - ticks / 100
    start = time.perf_counter()
    import distributed  # noqa: F401

    return {"process": age, "distributed": time.perf_counter() - start}
