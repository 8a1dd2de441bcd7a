"""Only functions: a flow without any task run."""

from flowcluster import flow


def say_hello(name):
    return f"Hello {name}!"


def say_nice_to_meet_you(hello_greeting):
    return f"{hello_greeting} Nice to meet you :)"


@flow
def hello_world():
    hello = say_hello("Marvin")
    nice_to_meet_you = say_nice_to_meet_you(hello)


hello_world()
