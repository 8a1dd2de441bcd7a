"""The greetings, many times: ``python greetings_many_times.py threads|dask TIMES``."""

import sys

from flowcluster import flow, task
from flowcluster.task_runners import ConcurrentTaskRunner, DaskTaskRunner


@task
def say_hello(name: str) -> None:
    print(f"hello {name}")


@task
def say_goodbye(name: str) -> None:
    print("goodbye", end=" ")
    print(name)


@flow
def greetings(names: list[str]) -> None:
    for name in names:
        say_hello.submit(name)
        say_goodbye.submit(name)


def main(kind: str, times: int) -> None:
    names = ["arthur", "trillian", "ford", "marvin"]
    if kind == "threads":
        for _ in range(times):
            greetings.with_options(task_runner=ConcurrentTaskRunner())(names)
        return
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=4, dashboard_address=":0") as cluster:
        # The names many times and not the flow: the start of a flow run takes longer than its tasks.
        for _ in range(times // 20):
            greetings.with_options(task_runner=DaskTaskRunner(address=cluster.scheduler_address))(names * 20)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
