"""``result()`` blocks: the second task is submitted when the first has ended."""

from flowcluster import flow, task


@task
def say_hello(name):
    return f"Hello {name}!"


@task
def do_important_stuff():
    print("Doing lots of important stuff!")


@flow
def hello_world():
    result = say_hello.submit("Marvin").result()
    do_important_stuff.submit()


hello_world()
