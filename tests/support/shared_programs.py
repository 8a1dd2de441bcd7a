"""How programs use a SharedCluster of either kind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import ray
from distributed import Client

from flowcluster.clusters import SharedKubernetesCluster, SharedRayKubernetesCluster
from flowcluster.task_runners import DaskTaskRunner, RayTaskRunner

CLASSES: dict[str, Any] = {"Dask": SharedKubernetesCluster, "Ray": SharedRayKubernetesCluster}
RUNNERS: dict[str, Any] = {"Dask": DaskTaskRunner, "Ray": RayTaskRunner}


@contextlib.contextmanager
def work_for(cluster: Any) -> Iterator[Callable[..., Any]]:
    """In the block, a function that executes another one on the cluster and returns the result."""
    if isinstance(cluster, SharedRayKubernetesCluster):
        ray.init(cluster.address, logging_level="ERROR")
        yield lambda function, *values: ray.get(ray.remote(lambda: function(*values)).remote(), timeout=90)
    else:
        with Client(cluster) as client:
            yield lambda function, *values: client.submit(function, *values).result(90)
