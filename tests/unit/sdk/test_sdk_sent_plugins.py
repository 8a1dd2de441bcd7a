"""Plugins that are sent to schedulers and workers whose image does not have flowcluster."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from flowcluster import pickling

pytest.importorskip("distributed")

#: Reads a plugin, and the one for workers in it, and prints the classes.
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
    from flowcluster.agent import runs_side
    from flowcluster_api import tags

    return pickling.dumps_by_value(runs_side.RunsPlugin(tags.DASK_MARK, tags.DASK_REST), runs_side)


def of_agent() -> bytes:
    from flowcluster.agent import scheduler_side

    return pickling.dumps_by_value(scheduler_side.ScalingPlugin(), scheduler_side)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("sent", "classes"),
    [(of_sessions, ["SchedulerSide", "WorkerSide"]), (of_keeper, ["RunsPlugin"]), (of_agent, ["ScalingPlugin"])],
)
def test_plugin_is_read_without_flowcluster(sent: Callable[[], bytes], classes: list[Any]) -> None:
    ran = subprocess.run([sys.executable, "-c", READ], input=sent(), capture_output=True, check=False)

    assert (ran.stdout.decode().split(), ran.stderr.decode()) == (classes, "")
