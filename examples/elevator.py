"""Ten tasks that wait at the same time: the flow run takes as long as its slowest task, and floor 1 is first."""

import time

from flowcluster import flow, task
from flowcluster.task_runners import ConcurrentTaskRunner


@task
def stop_at_floor(floor):
    print(f"elevator moving to floor {floor}")
    time.sleep(floor)
    print(f"elevator stops on floor {floor}")


@flow(task_runner=ConcurrentTaskRunner())
def elevator():
    for floor in range(10, 0, -1):
        stop_at_floor.submit(floor)


if __name__ == "__main__":
    elevator()
