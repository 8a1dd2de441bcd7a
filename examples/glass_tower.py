"""A flow with a name of its own, whose 38 tasks keep their order."""

import random

from flowcluster import flow, task
from flowcluster.task_runners import SequentialTaskRunner


@task
def stop_at_floor(floor):
    situation = random.choice(["on fire", "clear"])
    print(f"elevator stops on {floor} which is {situation}")


@flow(
    task_runner=SequentialTaskRunner(),
    name="towering-infernflow",
)
def glass_tower():
    for floor in range(1, 39):
        stop_at_floor.submit(floor)


glass_tower()
