"""Plugins for schedulers and workers whose image does not have flowcluster."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from flowcluster._util import pickling

pytest.importorskip("distributed")

#: A program that reads a plugin and the worker plugin in it, and prints the classes.
READ = """
import pickle, sys
sys.modules["flowcluster"] = None  # an import raises ModuleNotFoundError
plugin = pickle.loads(sys.stdin.buffer.read())
print(type(plugin).__name__)
if worker_side := getattr(plugin, "worker_side", None):
    print(type(pickle.loads(worker_side)).__name__)
"""


def of_sessions() -> bytes:
    from flowcluster.runners.dask import registration

    return registration._scheduler_side()


def of_keeper() -> bytes:
    from flowcluster.agent import shared_runs_plugin
    from flowcluster_api import tags

    return pickling.dumps_by_value(
        shared_runs_plugin.SharedRunsPlugin(tags.DASK_MARK, tags.DASK_REST), shared_runs_plugin
    )


def of_agent() -> bytes:
    from flowcluster.agent import scaling_plugin

    return pickling.dumps_by_value(scaling_plugin.ScalingPlugin(), scaling_plugin)


def of_workers() -> bytes:
    from flowcluster.agent import worker_end_plugin

    return pickling.dumps_by_value(worker_end_plugin.WorkerEndPlugin(), worker_end_plugin)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("sent", "classes"),
    [
        (of_sessions, ["SchedulerSide", "WorkerSide"]),
        (of_keeper, ["SharedRunsPlugin"]),
        (of_agent, ["ScalingPlugin"]),
        (of_workers, ["WorkerEndPlugin"]),
    ],
)
def test_plugin_is_read_without_flowcluster(sent: Callable[[], bytes], classes: list[Any]) -> None:
    ran = subprocess.run([sys.executable, "-c", READ], input=sent(), capture_output=True, check=False)

    assert (ran.stdout.decode().split(), ran.stderr.decode()) == (classes, "")
