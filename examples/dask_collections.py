"""Dask's own collections on the run's cluster, in a flow and in a task."""

import dask.array

from flowcluster import flow, get_dask_client, task
from flowcluster.task_runners import DaskTaskRunner


@task
def mean_of(size):
    with get_dask_client():
        return float(dask.array.arange(size, chunks=size // 4).mean().compute())


@flow(task_runner=DaskTaskRunner(cluster_kwargs={"n_workers": 1, "threads_per_worker": 2}))
def means(size: int = 1000):
    in_task = mean_of.submit(size)
    with get_dask_client():
        in_flow = float(dask.array.arange(size, chunks=size // 4).mean().compute())
    print(in_task.result(), in_flow)


if __name__ == "__main__":
    means()
