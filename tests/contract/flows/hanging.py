"""Flows whose only task never ends: as a program, ``hanging.py FLOW PIPE``."""

import asyncio
import inspect
import multiprocessing
import os
import sys
import threading
from concurrent.futures import ProcessPoolExecutor

from flowcluster import flow, task
from flowcluster.task_runners import ConcurrentTaskRunner, DaskTaskRunner, RayTaskRunner, SequentialTaskRunner

LOCAL_DASK = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0"}
OWN_RAY = RayTaskRunner(init_kwargs={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100_000_000})


@task
def hang(where: str) -> bool:
    """Write the id of this process into a pipe, then never end."""
    with open(where, "w") as pipe:
        pipe.write(str(os.getpid()))
    return threading.Event().wait()


@task
def start_processes(where: str) -> None:
    """Start a process in each way, write the id of this one into a pipe, then never end."""
    pools = [
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(way)) for way in ("fork", "spawn", "forkserver")
    ]
    for pool in pools:
        pool.submit(os.getpid).result()
    with open(where, "w") as pipe:
        pipe.write(str(os.getpid()))
    threading.Event().wait()


@flow(task_runner=DaskTaskRunner(cluster_kwargs=LOCAL_DASK))
def processes_on_dask(where: str) -> None:
    start_processes.submit(where)


@flow(task_runner=ConcurrentTaskRunner)
def processes_on_threads(where: str) -> None:
    start_processes.submit(where)


@flow(task_runner=DaskTaskRunner(cluster_kwargs=LOCAL_DASK))
def on_dask(where: str) -> None:
    hang.submit(where)


@flow(task_runner=ConcurrentTaskRunner)
def on_threads(where: str) -> None:
    hang.submit(where).result()


@flow(task_runner=SequentialTaskRunner)
def in_order(where: str) -> None:
    hang.submit(where)


@flow(task_runner=DaskTaskRunner(cluster_kwargs=LOCAL_DASK))
async def on_dask_async(where: str) -> None:
    hang.submit(where)


@flow(task_runner=OWN_RAY)
def on_ray(where: str) -> None:
    hang.submit(where)


@flow(task_runner=OWN_RAY)
async def on_ray_async(where: str) -> None:
    hang.submit(where)


@flow(task_runner=RayTaskRunner(address=os.environ.get("HEAD")))
def at_ray_head(where: str) -> None:
    hang.submit(where)


@flow
async def on_threads_async(where: str) -> None:
    hang.submit(where)


if __name__ == "__main__":
    returned = globals()[sys.argv[1]](sys.argv[2])
    if inspect.iscoroutine(returned):
        asyncio.run(returned)
