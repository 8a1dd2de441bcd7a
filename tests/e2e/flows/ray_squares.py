"""A program with a flow on a Ray cluster of its own, which has no worker before the first task."""

from flowcluster import flow, get_run_logger, task
from flowcluster.task_runners import RayTaskRunner


@task
def square(number: int) -> int:
    print(f"square of {number}", flush=True)
    get_run_logger().info("%d is squared", number)
    return number * number


@flow(
    task_runner=RayTaskRunner(
        cluster_class="flowcluster.clusters.RayKubernetesCluster", adapt_kwargs={"minimum": 0, "maximum": 2}
    )
)
def squares() -> int:
    return sum(future.result() for future in square.map(range(4)))


if __name__ == "__main__":
    print("sum", squares(), flush=True)
