"""A program that uses Ray by itself, while it has a shared cluster, until it is killed.

Its arguments: the address of the cluster, the UID of the FlowRun, and the number of tasks to submit.
"""

import sys
import threading
import time
from typing import Any

import ray

from flowcluster.clusters.ray import access

address, uid, number = sys.argv[1:]


def wait() -> None:
    """Keep a CPU busy."""
    time.sleep(3600)


with access.tagged(uid):
    ray.init(address, log_to_driver=False)
    task: Any = ray.remote(wait)
    tasks = [task.remote() for _ in range(int(number))]
    print("submitted", flush=True)
    threading.Event().wait()
