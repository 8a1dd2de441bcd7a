"""A program that wants no lines below errors from its tasks, which run on Dask workers."""

import logging

from flowcluster import flow, get_run_logger, task
from flowcluster.task_runners import DaskTaskRunner

LOCAL_DASK = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}


@task
def below(n: int) -> int:
    get_run_logger().info("below")
    get_run_logger().error("loud")
    return below.submit(n - 1).result() if n else 0


@flow(task_runner=DaskTaskRunner(cluster_kwargs=LOCAL_DASK))
def body() -> int:
    return below.submit(1).result()


if __name__ == "__main__":
    logging.getLogger("flowcluster").setLevel(logging.ERROR)
    body()
