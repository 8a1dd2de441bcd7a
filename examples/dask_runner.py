"""A flow on a Dask cluster of its own, which starts and ends with the run."""

from flowcluster import flow
from flowcluster.task_runners import DaskTaskRunner


@flow(task_runner=DaskTaskRunner())
def my_flow():
    pass


if __name__ == "__main__":
    my_flow()
