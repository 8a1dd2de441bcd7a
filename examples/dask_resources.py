"""Tasks with resources: two tasks that need the only GPU of a worker run one after the other."""

import dask

from flowcluster import flow, task
from flowcluster.task_runners import DaskTaskRunner


@task
def show(x):
    print(x)


# A resource of a worker is only a number for Dask, which does not look for a GPU.
@flow(
    task_runner=DaskTaskRunner(
        cluster_kwargs={"n_workers": 1, "resources": {"GPU": 1, "process": 1}},
    )
)
def my_flow():
    with dask.annotate(resources={"GPU": 1}):
        future = show.submit(0)

    with dask.annotate(resources={"process": 1}):
        future = show.submit(1)
        future = show.submit(2)
        future = show.submit(3)


if __name__ == "__main__":
    my_flow()
