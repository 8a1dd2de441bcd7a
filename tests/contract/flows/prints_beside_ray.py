"""A flow whose prints are logged, in a process in which Ray replaces `print` while the flow runs."""

import sys

from ray.experimental import tqdm_ray

from flowcluster import flow

if "--before" in sys.argv:
    tqdm_ray.instance()


@flow(log_prints=True)
def speak() -> None:
    print("one")
    tqdm_ray.instance()  # as Ray does when the first line of a worker arrives
    print("two")


speak()
speak()
