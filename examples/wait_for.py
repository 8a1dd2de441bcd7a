"""``wait_for`` orders tasks that pass no data to each other."""

from flowcluster import flow, task


@task
def task_a():
    pass


@task
def task_b():
    pass


@task
def task_c():
    pass


@task
def task_d():
    pass


@flow
def my_flow():
    a = task_a.submit()
    b = task_b.submit()
    c = task_c.submit(wait_for=[a, b])
    # A direct call waits as well, and blocks the flow.
    d = task_d(wait_for=[c])


if __name__ == "__main__":
    my_flow()
