"""``.submit`` returns a future."""

from flowcluster import flow, task


@task
def say_hello(name):
    return f"Hello {name}!"


@flow
def hello_world():
    future = say_hello.submit("Marvin")
    print(f"variable 'future' is type {type(future)}")


hello_world()
