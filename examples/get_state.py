"""``get_state()`` returns the current state of a task run, without waiting for it."""

from flowcluster import flow, task


@task
def my_task():
    return 42


@flow
def my_flow():
    future = my_task.submit()
    state = future.get_state()


if __name__ == "__main__":
    my_flow()
