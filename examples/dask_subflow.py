"""Two task runners in one program: a subflow has its own, and its parent continues when it has ended."""

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
    hello_local.submit()
    dask_subflow()
    hello_local.submit()


@flow(task_runner=DaskTaskRunner())
def dask_subflow():
    hello_dask.submit()


if __name__ == "__main__":
    sequential_flow()
