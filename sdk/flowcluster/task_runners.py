"""The task runners to choose from: ``@flow(task_runner=...)``."""

from __future__ import annotations

from .runners.base import TaskRunner
from .runners.concurrent import ConcurrentTaskRunner
from .runners.dask import DaskTaskRunner
from .runners.sequential import SequentialTaskRunner

__all__ = ["ConcurrentTaskRunner", "DaskTaskRunner", "SequentialTaskRunner", "TaskRunner"]
