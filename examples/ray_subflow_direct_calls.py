"""Direct calls in a flow and in its subflow: all run in the flow's process, in order, and none on Ray."""

from flowcluster import flow, task
from flowcluster.task_runners import RayTaskRunner


@task
def say_hello(name):
    print(f"hello {name}")


@task
def say_goodbye(name):
    print(f"goodbye {name}")


@flow(task_runner=RayTaskRunner())
def ray_greetings(names):
    for name in names:
        say_hello(name)
        say_goodbye(name)


@flow()
def greetings(names):
    for name in names:
        say_hello(name)
        say_goodbye(name)
    ray_greetings(names)


if __name__ == "__main__":
    greetings(["arthur", "trillian", "ford", "marvin"])
