"""A program whose flow prints how many of its tasks Ray has, whenever that changes, until its tasks have ended.

Its arguments: the address of the cluster, and the address of the gate at which its tasks wait.
"""

import sys

from flowcluster import flow, get_run_context, task
from flowcluster.task_runners import RayTaskRunner
from tests.support.meeting import wait_at

address, gate = sys.argv[1:]


@task
def wait() -> None:
    """Keep a CPU busy."""
    wait_at(gate)


@flow(task_runner=RayTaskRunner(address=address))
def use() -> None:
    """Submit many tasks, and count."""
    session = get_run_context().runner._session  # type: ignore[union-attr]
    futures = [wait.submit() for _ in range(8)]
    last = 0
    while futures:
        if (number := len(session.expected(100))) != last:
            print(last := number, flush=True)
        futures = [future for future in futures if future.wait(0.01) is None]


use()
