"""A Dask cluster that many programs share, by a flow and by a plain client: ``kubectl apply -f shared-dask.yaml``."""

import time

from dask.distributed import Client

from flowcluster import flow, task
from flowcluster.clusters import SharedKubernetesCluster
from flowcluster.task_runners import DaskTaskRunner


@task
def square(number):
    time.sleep(0.5)
    return number * number


# The SharedCluster of that name, in the namespace of the kubeconfig. At most four of the flow's tasks are in flight.
@flow(
    task_runner=DaskTaskRunner(
        cluster_class="flowcluster.clusters.SharedKubernetesCluster",
        cluster_kwargs={"name": "shared-dask", "share": {"threads": 4}},
    )
)
def squares(count=8):
    futures = square.map(range(count))
    return sum(future.result() for future in futures)


if __name__ == "__main__":
    print(squares())
    with SharedKubernetesCluster("shared-dask") as cluster, Client(cluster) as client:
        print(client.submit(sum, range(20)).result())
