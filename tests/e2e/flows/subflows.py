"""Flows whose subflows have clusters of their own."""

import threading

from flowcluster import flow, task
from flowcluster.clusters import DaskKubernetesCluster, RayKubernetesCluster
from flowcluster.task_runners import DaskTaskRunner, RayTaskRunner

ON_DASK = DaskTaskRunner(
    cluster_class=DaskKubernetesCluster, cluster_kwargs={"n_workers": 1}, adapt_kwargs={"minimum": 1, "maximum": 2}
)
ON_RAY = RayTaskRunner(cluster_class=RayKubernetesCluster, cluster_kwargs={"n_workers": 1})


@task
def add(one: int, other: int) -> int:
    return one + other


@task
def nap() -> int:
    """Never end."""
    return threading.Event().wait()


@flow(task_runner=ON_DASK)
def part(is_short: bool) -> int:
    return add.submit(1, 2).result() if is_short else nap.submit().result()


@flow
def whole(is_short: bool) -> int:
    """Run one subflow on Dask, which never ends unless it is short."""
    return part(is_short)


@flow(task_runner=ON_RAY)
def on_ray() -> int:
    return add.submit(1, 2).result()


@flow(task_runner=ON_DASK)
def on_dask() -> int:
    return add.submit(3, 4).result()


@flow
def both() -> list[int]:
    """Run one subflow on Ray and then one on Dask."""
    return [on_ray(), on_dask()]
