"""Flows and tasks that run in this process, or on a Dask or Ray cluster that lives as long as the run.

>>> from flowcluster import flow, task
>>> @task
... def double(x):
...     return 2 * x
>>> @flow
... def doubled(numbers):
...     return double.map(numbers)
"""

from __future__ import annotations

from flowcluster._output.logs import get_run_logger
from flowcluster.context import get_run_context, tags
from flowcluster.flows import Flow, flow
from flowcluster.futures import Future
from flowcluster.marks import allow_failure, opaque, quote, unmapped
from flowcluster.runners.dask.client import get_dask_client
from flowcluster.runners.ray.options import remote_options
from flowcluster.tasks import Task, task

__all__ = [
    "Flow",
    "Future",
    "Task",
    "allow_failure",
    "flow",
    "get_dask_client",
    "get_run_context",
    "get_run_logger",
    "opaque",
    "quote",
    "remote_options",
    "tags",
    "task",
    "unmapped",
]
