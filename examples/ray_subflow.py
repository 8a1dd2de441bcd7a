"""Two task runners in one program: the flow's own tasks run in its process, those of its subflow on Ray."""

import sys

from flowcluster import flow, task
from flowcluster.task_runners import RayTaskRunner


@task
def say_hello(name):
    print(f"hello {name}")


@task
def say_goodbye(name):
    print(f"goodbye {name}")


@flow(task_runner=RayTaskRunner())
def ray_greetings(names):
    for name in names:
        say_hello.submit(name)
        say_goodbye.submit(name)


@flow()
def greetings(names):
    for name in names:
        say_hello.submit(name)
        say_goodbye.submit(name)
    ray_greetings(names)


if __name__ == "__main__":
    if "--kubernetes" in sys.argv:  # instead of a Ray on this machine
        runner = RayTaskRunner(cluster_class="flowcluster.clusters.RayKubernetesCluster")
        ray_greetings = ray_greetings.with_options(task_runner=runner)
    greetings(["arthur", "trillian", "ford", "marvin"])
