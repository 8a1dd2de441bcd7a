"""A temporary cluster that scales with the work: no worker at first, at most ten."""

from flowcluster import flow, task
from flowcluster.task_runners import DaskTaskRunner


@task
def show(x):
    print(x)


# In a cloud this is the provider's class, such as "dask_cloudprovider.aws.FargateCluster".
@flow(
    task_runner=DaskTaskRunner(
        cluster_class="distributed.LocalCluster",
        cluster_kwargs={"n_workers": 0},
        adapt_kwargs={"maximum": 10},
    )
)
def my_flow():
    show.submit(1)


if __name__ == "__main__":
    my_flow()
