"""Flows whose progress is shown in a terminal: tasks that wait for the test, fail and nest, and subflows."""

import socket
from typing import Any

from flowcluster import flow, task
from flowcluster.task_runners import DaskTaskRunner

LOCAL_DASK = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}


@task
def wait_at(gate: str) -> None:
    host, _, port = gate.partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.recv(1)
    print("through the gate")


@task
def succeed(after: Any = None) -> None:
    print("so far so good")


@task
def fail() -> None:
    raise ValueError("boom")


@task
def nest(gate: str) -> None:
    succeed.submit().wait()
    wait_at(gate)


@flow
def child() -> None:
    succeed.submit()
    fail.submit()


@flow
def waits(gate: str, how: str = "well") -> None:
    child(return_state=True)
    future = nest.submit(gate)
    succeed.submit(future)
    future.wait()
    if how == "badly":
        raise RuntimeError("badly")


@flow(task_runner=DaskTaskRunner(cluster_kwargs=LOCAL_DASK))
def on_dask(gates: list[str]) -> None:
    wait_at.map(gates)


@flow
def is_short() -> None:
    succeed.submit()


@flow
def parent_of_short() -> None:
    is_short()
