"""Flows that end in each way that a run can end."""

import sys

from flowcluster import flow, task


@task
def double(x: int) -> int:
    return 2 * x


@flow
def good(x: int = 1) -> int:
    return double.submit(x).result()


@flow
def bad() -> None:
    raise ValueError("the answer is not 42")


@flow
def leaves() -> None:
    sys.exit(3)


@flow
def leaves_with_2() -> None:
    sys.exit(2)
