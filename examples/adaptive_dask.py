"""A cluster on Kubernetes that scales with the work and ends with the flow run: ``kubectl get flowruns -w``."""

import time

from flowcluster import flow, task
from flowcluster.task_runners import DaskTaskRunner


@task
def square(number):
    time.sleep(2)
    return number * number


# In the namespace of the kubeconfig. The cluster has no worker before the first task, and at most four.
@flow(
    task_runner=DaskTaskRunner(
        cluster_class="flowcluster.clusters.DaskKubernetesCluster",
        adapt_kwargs={"minimum": 0, "maximum": 4},
    )
)
def squares(count=8):
    futures = square.map(range(count))
    return sum(future.result() for future in futures)


if __name__ == "__main__":
    print(squares())
