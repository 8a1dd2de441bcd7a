"""The same tasks in parallel, on a Dask cluster that lives as long as the flow run.

All eight lines come, in any order, although the flow neither waits for them nor returns them.
"""

from flowcluster import flow, task
from flowcluster.task_runners import DaskTaskRunner


@task
def say_hello(name):
    print(f"hello {name}", flush=True)


@task
def say_goodbye(name):
    print(f"goodbye {name}", flush=True)


@flow(task_runner=DaskTaskRunner())
def greetings(names):
    for name in names:
        say_hello.submit(name)
        say_goodbye.submit(name)


# The cluster's processes import this file; without the guard each of them would run the flow.
if __name__ == "__main__":
    greetings(["arthur", "trillian", "ford", "marvin"])
