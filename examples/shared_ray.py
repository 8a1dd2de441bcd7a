"""A Ray cluster that many programs share, by a flow and by Ray itself: ``kubectl apply -f shared-ray.yaml``."""

import time

import ray

from flowcluster import flow, task
from flowcluster.clusters import SharedRayKubernetesCluster
from flowcluster.task_runners import RayTaskRunner


@task
def square(number):
    time.sleep(0.5)
    return number * number


# The SharedCluster of that name, in the namespace of the kubeconfig. At most four of the flow's tasks are in flight.
@flow(
    task_runner=RayTaskRunner(
        cluster_class="flowcluster.clusters.SharedKubernetesCluster",
        cluster_kwargs={"name": "shared-ray", "share": {"threads": 4}},
    )
)
def squares(count=8):
    futures = square.map(range(count))
    return sum(future.result() for future in futures)


if __name__ == "__main__":
    print(squares())
    with SharedRayKubernetesCluster("shared-ray") as cluster:
        ray.init(cluster.address)
        print(ray.get(ray.remote(lambda: sum(range(20))).remote()))
