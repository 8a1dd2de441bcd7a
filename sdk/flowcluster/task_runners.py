"""The task runners for ``@flow(task_runner=...)``."""

from __future__ import annotations

from flowcluster.runners.base import TaskRunner
from flowcluster.runners.concurrent import ConcurrentTaskRunner
from flowcluster.runners.dask.runner import DaskTaskRunner
from flowcluster.runners.ray.options import remote_options
from flowcluster.runners.ray.runner import RayTaskRunner
from flowcluster.runners.sequential import SequentialTaskRunner

__all__ = [
    "ConcurrentTaskRunner",
    "DaskTaskRunner",
    "RayTaskRunner",
    "SequentialTaskRunner",
    "TaskRunner",
    "remote_options",
]
