"""A flow on a Dask cluster that exists and stays: ``python dask_address.py tcp://HOST:8786``."""

import sys

from flowcluster import flow
from flowcluster.task_runners import DaskTaskRunner


# Taken from the command line, as every cluster has another address.
@flow(task_runner=DaskTaskRunner(address=sys.argv[1]))
def my_flow(): ...


if __name__ == "__main__":
    my_flow()
