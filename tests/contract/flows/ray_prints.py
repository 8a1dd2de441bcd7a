"""A program whose task prints much on the Ray at an address, and which ends right after it."""

import sys

from flowcluster import flow, task
from flowcluster.task_runners import RayTaskRunner


@task
def talk() -> None:
    for number in range(300):
        print("line", number)
    print("to stderr", file=sys.stderr)


@flow
def body() -> None:
    talk.submit()


if __name__ == "__main__":
    body.with_options(task_runner=RayTaskRunner(address=sys.argv[1]))()
