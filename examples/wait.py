"""``wait()`` returns the final state when the task has ended, and raises nothing."""

from flowcluster import flow, task


@task
def my_task():
    return 42


@flow
def my_flow():
    future = my_task.submit()
    final_state = future.wait()


if __name__ == "__main__":
    my_flow()
