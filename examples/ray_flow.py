"""The same tasks in parallel, on a Ray that runs as long as the flow run.

All eight lines come, in any order, although the flow neither waits for them nor returns them. Ray puts the
name of the task and the process in front of each.
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
