"""``result()`` waits for the task and returns its value."""

from flowcluster import flow, task


@task
def my_task():
    return 42


@flow
def my_flow():
    future = my_task.submit()
    result = future.result()
    print(result)


my_flow()
