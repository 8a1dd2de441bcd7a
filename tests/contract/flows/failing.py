"""A program whose tasks and flows fail."""

from flowcluster import flow, get_run_logger, task
from flowcluster.task_runners import SequentialTaskRunner


@task
def broken(x: int) -> float:
    get_run_logger().warning("about to divide by %d", x)
    return 1 / x


@task
def after(result: float) -> None:
    print("never")


@flow(task_runner=SequentialTaskRunner)
def fails_by_its_tasks() -> None:
    after.submit(broken.submit(0))


@flow(task_runner=SequentialTaskRunner)
def fails_by_itself() -> None:
    fails_by_its_tasks(return_state=True)
    broken.submit(0).result()


if __name__ == "__main__":
    fails_by_itself(return_state=True)
