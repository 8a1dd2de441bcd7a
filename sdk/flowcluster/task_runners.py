"""The task runners to choose from: ``@flow(task_runner=...)``."""

from __future__ import annotations

from .runners.base import TaskRunner
from .runners.concurrent import ConcurrentTaskRunner
from .runners.dask import DaskTaskRunner
from .runners.ray import RayTaskRunner
from .runners.ray_options import remote_options
from .runners.sequential import SequentialTaskRunner

__all__ = [
    "ConcurrentTaskRunner",
    "DaskTaskRunner",
    "RayTaskRunner",
    "SequentialTaskRunner",
    "TaskRunner",
    "remote_options",
]
