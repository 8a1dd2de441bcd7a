"""A flow on a Ray that exists and stays: ``python ray_address.py ray://HOST:10001``."""

import sys

from flowcluster import flow
from flowcluster.task_runners import RayTaskRunner


# Taken from the command line, as every cluster has another address.
@flow(task_runner=RayTaskRunner(address=sys.argv[1]))
def my_flow(): ...


if __name__ == "__main__":
    my_flow()
