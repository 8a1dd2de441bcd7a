"""With ``raise_on_failure=False`` the result of a failed task is its exception, and the flow continues."""

from flowcluster import flow, task


@task
def my_task(name):
    return "I'm a task!"


@flow
def my_flow():
    future = my_task.submit("Marvin")
    result = future.result(raise_on_failure=False)
    if future.get_state().is_failed():
        ...  # `result` is the exception
    else:
        ...  # `result` is what the task returned


if __name__ == "__main__":
    my_flow()
