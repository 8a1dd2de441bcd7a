"""A flow and a subflow that ask for a runner of their own, with a task that calls a function of this file."""

import os
from typing import Any

from flowcluster import flow, task
from flowcluster.task_runners import SequentialTaskRunner


def helper() -> int:
    return os.getpid()


@task
def where() -> int:
    return helper()


@flow(task_runner=SequentialTaskRunner)
def child() -> Any:
    return where.submit()


@flow(task_runner=SequentialTaskRunner)
def parent() -> Any:
    return [where.submit(), child()]
