"""Tasks that are called, not submitted: each runs before the next line of the flow."""

from flowcluster import flow, task
from flowcluster.task_runners import SequentialTaskRunner


@task
def say_hello(name):
    print(f"hello {name}")


@task
def say_goodbye(name):
    print(f"goodbye {name}")


@flow(task_runner=SequentialTaskRunner())
def greetings(names):
    for name in names:
        say_hello(name)
        say_goodbye(name)


greetings(["arthur", "trillian", "ford", "marvin"])
