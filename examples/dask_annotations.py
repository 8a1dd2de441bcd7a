"""Annotations tell the Dask scheduler more about a task: here its priority, and what it needs."""

import dask

from flowcluster import flow, task
from flowcluster.task_runners import DaskTaskRunner


@task
def show(x):
    print(x, flush=True)


@flow(task_runner=DaskTaskRunner(cluster_kwargs={"n_workers": 1, "resources": {"GPU": 1}}))
def annotated():
    with dask.annotate(priority=-10):
        show.submit("low priority")

    with dask.annotate(priority=10):
        show.submit("high priority")

    with dask.annotate(resources={"GPU": 1}):
        show.submit("one GPU")


if __name__ == "__main__":
    annotated()
