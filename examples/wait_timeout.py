"""``wait`` with a time limit in seconds returns None if the task takes longer."""

from flowcluster import flow, task


@task
def my_task():
    return 42


@flow
def my_flow():
    future = my_task.submit()
    final_state = future.wait(1)
    if final_state:
        result = final_state.result()
    else:
        ...  # the task is still running


if __name__ == "__main__":
    my_flow()
