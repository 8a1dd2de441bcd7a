"""A flow on an existing Ray, which it does not stop: ``python ray_address.py ray://HOST:10001``."""

import sys

from flowcluster import flow
from flowcluster.task_runners import RayTaskRunner


# From the command line, as each cluster has its own address.
@flow(task_runner=RayTaskRunner(address=sys.argv[1]))
def my_flow(): ...


if __name__ == "__main__":
    my_flow()
