"""A temporary Dask cluster of four processes with two threads each."""

from flowcluster import flow, get_dask_client
from flowcluster.task_runners import DaskTaskRunner


@flow(
    task_runner=DaskTaskRunner(
        cluster_kwargs={"n_workers": 4, "threads_per_worker": 2},
    )
)
def my_flow():
    with get_dask_client() as client:
        print(sorted(client.nthreads().values()))


if __name__ == "__main__":
    my_flow()
