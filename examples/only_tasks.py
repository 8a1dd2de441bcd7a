"""Only tasks: the future of each task is the argument of the next one, and the flow never waits."""

from flowcluster import flow, task


@task
def say_hello(name):
    return f"Hello {name}!"


@task
def say_nice_to_meet_you(hello_greeting):
    return f"{hello_greeting} Nice to meet you :)"


@flow
def hello_world():
    hello = say_hello.submit("Marvin")
    nice_to_meet_you = say_nice_to_meet_you.submit(hello)


hello_world()
