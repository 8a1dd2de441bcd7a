"""Flows that are submitted from this file, by the command line and from Python."""

import os
import sys
import threading
from typing import Any

from flowcluster import flow, task
from flowcluster.task_runners import DaskTaskRunner, RayTaskRunner


@task
def double(x: int) -> int:
    print("doubling", x, flush=True)
    return 2 * x


@flow
def doubles(numbers: list[int]) -> Any:
    print("the flow says hello", flush=True)
    return double.map(numbers)


@task
def host() -> str:
    return os.uname().nodename


@flow(
    task_runner=DaskTaskRunner(cluster_class="flowcluster.clusters.DaskKubernetesCluster", adapt_kwargs={"maximum": 2})
)
def hosts() -> list[str]:
    return [host.submit().result(), os.uname().nodename]


@flow(task_runner=RayTaskRunner(cluster_class="flowcluster.clusters.RayKubernetesCluster", adapt_kwargs={"maximum": 2}))
def hosts_on_ray() -> list[str]:
    return [host.submit().result(), os.uname().nodename]


@flow
def bad() -> None:
    print("attempt", flush=True)
    raise ValueError("the answer is not 42")


@flow
def long() -> None:
    """Never end."""
    print("long flow started", flush=True)
    threading.Event().wait()


@flow
def talks(lines: int) -> None:
    for number in range(lines):
        print("line", number, flush=True)
        print("same", flush=True)
        print("other", file=sys.stderr, flush=True)
        # The lines come over a time in which the test breaks the connections several times.
        threading.Event().wait(0.02)


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


@flow
def points() -> list[Point]:
    return [Point(x) for x in range(10_000)]
