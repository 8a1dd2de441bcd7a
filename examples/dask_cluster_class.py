"""A temporary cluster of any class, given by its dotted name."""

from flowcluster import flow, get_dask_client
from flowcluster.task_runners import DaskTaskRunner


# In a cloud this is the provider's class, such as "dask_cloudprovider.aws.FargateCluster", with its image.
@flow(
    task_runner=DaskTaskRunner(
        cluster_class="distributed.LocalCluster",
        cluster_kwargs={"n_workers": 4},
    )
)
def my_flow():
    with get_dask_client() as client:
        print(f"{type(client.cluster).__name__} with {len(client.nthreads())} workers")


if __name__ == "__main__":
    my_flow()
