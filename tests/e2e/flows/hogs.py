"""Flows that need more memory than a part of their cluster has."""

import os
import time

from flowcluster import flow, task


@task
def allocate(mebibytes: int) -> int:
    return len(b"x" * (mebibytes << 20))


@task
def keep(data: bytes, seconds: float) -> int:
    time.sleep(seconds)
    return len(data)


@flow
def in_a_task(mebibytes: int = 1000) -> int:
    return allocate.submit(mebibytes).result()


@flow
def in_arguments(count: int = 150) -> int:
    """The scheduler holds the arguments of tasks that wait."""
    first = keep.submit(b"", 60)
    rest = [keep.submit(os.urandom(4 << 20), 0) for _ in range(count)]
    return first.result() + sum(future.result() for future in rest)
