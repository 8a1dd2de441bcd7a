"""Ten tasks that wait at the same time: the whole takes as long as the slowest, and floor 1 is first."""

import time

from flowcluster import flow, task
from flowcluster.task_runners import ConcurrentTaskRunner


@task
def stop_at_floor(floor, seconds_per_floor):
    print(f"elevator moving to floor {floor}", flush=True)
    time.sleep(floor * seconds_per_floor)
    print(f"elevator stops on floor {floor}", flush=True)


@flow(task_runner=ConcurrentTaskRunner())
def elevator(floors: int = 10, seconds_per_floor: float = 1.0):
    for floor in range(floors, 0, -1):
        stop_at_floor.submit(floor, seconds_per_floor)


if __name__ == "__main__":
    elevator()
