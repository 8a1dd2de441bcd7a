"""Submitted tasks in parallel, on a Ray that runs as long as the flow run.

All eight lines are printed, in any order, although the flow neither waits for its tasks nor returns them. Ray prints
the name and the process of the task before each line.
"""

from flowcluster import flow, task
from flowcluster.task_runners import RayTaskRunner


@task
def say_hello(name):
    print(f"hello {name}")


@task
def say_goodbye(name):
    print(f"goodbye {name}")


@flow(task_runner=RayTaskRunner())
def greetings(names):
    for name in names:
        say_hello.submit(name)
        say_goodbye.submit(name)


if __name__ == "__main__":
    greetings(["arthur", "trillian", "ford", "marvin"])
