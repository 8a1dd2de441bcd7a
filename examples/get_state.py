"""``get_state()`` tells how a task run stands at the moment, without waiting for it."""

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
