"""A flow on an existing Dask cluster, which it does not close: ``python dask_address.py tcp://HOST:8786``."""

import sys

from flowcluster import flow
from flowcluster.task_runners import DaskTaskRunner


# From the command line, as each cluster has its own address.
@flow(task_runner=DaskTaskRunner(address=sys.argv[1]))
def my_flow(): ...


if __name__ == "__main__":
    my_flow()
