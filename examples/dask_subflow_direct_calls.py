"""A subflow whose task is called directly: it runs here, beside the Dask cluster and not on it."""

from flowcluster import flow, task
from flowcluster.task_runners import DaskTaskRunner, SequentialTaskRunner


@task
def hello_local():
    print("Hello!")


@task
def hello_dask():
    print("Hello from Dask!")


@flow(task_runner=SequentialTaskRunner())
def sequential_flow():
    hello_local()
    dask_subflow()
    hello_local()


@flow(task_runner=DaskTaskRunner())
def dask_subflow():
    hello_dask()


if __name__ == "__main__":
    sequential_flow()
