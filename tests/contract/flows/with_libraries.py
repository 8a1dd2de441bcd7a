"""A program whose flow and task log as a library does, in the driver and on a Dask worker."""

import logging

from flowcluster import flow, task
from flowcluster.task_runners import DaskTaskRunner

LOCAL_DASK = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0"}


@task
def use() -> None:
    logging.getLogger("somelib.part").info("at %s", "work")


@flow(task_runner=DaskTaskRunner(cluster_kwargs=LOCAL_DASK))
def body() -> None:
    logging.getLogger("somelib").warning("begins")
    use.submit().wait()
    use()


if __name__ == "__main__":
    body()
