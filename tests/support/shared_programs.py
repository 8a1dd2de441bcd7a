"""How programs use clusters of either kind, and a program on a SharedCluster that a test ends."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import ray
from distributed import Client
from distributed.deploy import Cluster

from flowcluster.clusters import SharedKubernetesCluster, SharedRayKubernetesCluster
from flowcluster.task_runners import DaskTaskRunner, RayTaskRunner

CLASSES: dict[str, Any] = {"Dask": SharedKubernetesCluster, "Ray": SharedRayKubernetesCluster}
RUNNERS: dict[str, Any] = {"Dask": DaskTaskRunner, "Ray": RayTaskRunner}

#: What `task_holder` has at the scheduler: its task, and its dataset.
HELD, KEPT = "held", "kept"
#: Seconds of silence after which `task_holder` counts as gone.
LEASE_SECONDS = 15
#: Seconds from the end of a run of that lease until nothing of its work is on the cluster.
RELEASED_SECONDS = LEASE_SECONDS + 10

_TASK_HOLDER = Path(__file__).with_name("programs") / "task_holder.py"


@contextlib.contextmanager
def work_for(cluster: Any) -> Iterator[Callable[..., Any]]:
    """In the block, a function that executes another one on the cluster and returns the result."""
    if isinstance(cluster, Cluster):
        with Client(cluster) as client:
            yield lambda function, *values: client.submit(function, *values).result(90)
    else:
        ray.init(cluster.address, logging_level="ERROR")
        yield lambda function, *values: ray.get(ray.remote(lambda: function(*values)).remote(), timeout=90)


@contextlib.contextmanager
def task_holder(where: dict[str, Any]) -> Iterator[psutil.Process]:
    """In the block, a program holds `HELD` and `KEPT` on the SharedCluster `team`; it is killed at the end.

    Args:
        where: arguments of cluster classes.
    """
    kwargs = {**where, "lease_duration_seconds": LEASE_SECONDS}
    command = [sys.executable, str(_TASK_HOLDER), json.dumps(kwargs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        processes = [psutil.Process(program.pid)]
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
            processes += processes[0].children(recursive=True)
            yield processes[0]
        finally:
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
