"""A program that uses a shared cluster by a flow, until it is killed.

Its arguments: the kind of the cluster, its address, and the address of the gate at which its tasks wait.
"""

import sys
from typing import Any

from flowcluster import flow, task
from flowcluster.task_runners import DaskTaskRunner, RayTaskRunner
from tests.support.meeting import wait_at

kind, address, gate = sys.argv[1:]
RUNNERS: dict[str, Any] = {"Dask": DaskTaskRunner, "Ray": RayTaskRunner}


@task
def wait() -> None:
    """Keep a thread of a worker busy."""
    print("a line for the log", flush=True)
    wait_at(gate)


@task
def submit_and_wait() -> None:
    """Submit a task that waits."""
    wait.submit().result()


@task
def leave_an_actor() -> None:
    """Start an actor that outlives its driver."""
    if kind == "Ray":
        import ray

        class Staying:
            def here(self) -> bool:
                return True

        actor: Any = ray.remote(Staying)
        ray.get(actor.options(name="staying", lifetime="detached", num_cpus=0).remote().here.remote())


@flow(task_runner=RUNNERS[kind](address=address), log_prints=True)
def use() -> None:
    """Create everything that a run can leave behind, and wait."""
    leave_an_actor.submit().result()
    futures = [wait.submit(), submit_and_wait.submit()]
    for future in futures:
        future.wait()


use()
