"""Tasks and functions together: ``result()`` makes the function wait for the task."""

from flowcluster import flow, task


def say_hello_extra_nicely_to_marvin(hello):
    if hello == "Hello Marvin!":
        return "HI MARVIN!"
    return hello


@task
def say_hello(name):
    return f"Hello {name}!"


@task
def say_nice_to_meet_you(hello_greeting):
    return f"{hello_greeting} Nice to meet you :)"


@flow
def hello_world():
    hello = say_hello.submit("Marvin").result()
    special_greeting = say_hello_extra_nicely_to_marvin(hello)
    nice_to_meet_you = say_nice_to_meet_you.submit(special_greeting)
    print(nice_to_meet_you.result())


hello_world()
