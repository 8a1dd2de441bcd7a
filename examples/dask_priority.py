"""Annotations set the priority of tasks on the Dask scheduler."""

import dask

from flowcluster import flow, task
from flowcluster.task_runners import DaskTaskRunner


@task
def show(x):
    print(x)


@flow(task_runner=DaskTaskRunner())
def my_flow():
    with dask.annotate(priority=-10):
        future = show.submit(1)  # low priority

    with dask.annotate(priority=10):
        future = show.submit(2)  # high priority


if __name__ == "__main__":
    my_flow()
