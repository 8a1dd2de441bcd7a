"""A Prefect program whose flow uses Prefect's own Dask task runner on a cluster from flowcluster."""

import os

from prefect import flow, task
from prefect_dask import DaskTaskRunner

PLACE = {name: os.environ[f"CLUSTER_{name.upper()}"] for name in ("kubeconfig", "namespace")}
SHARED = os.environ.get("CLUSTER_SHARED")
if SHARED:
    RUNNER = DaskTaskRunner(
        cluster_class="flowcluster.clusters.SharedKubernetesCluster",
        cluster_kwargs={"name": SHARED, **PLACE},
    )
else:
    RUNNER = DaskTaskRunner(
        cluster_class="flowcluster.clusters.DaskKubernetesCluster",
        cluster_kwargs={"image": os.environ["CLUSTER_IMAGE"], **PLACE},
        adapt_kwargs={"minimum": 0, "maximum": 2},
    )


@task  # type: ignore[untyped-decorator] # Prefect is not installed here
def where(number: int) -> tuple[int, str]:
    import socket

    return number, socket.gethostname()


@flow(task_runner=RUNNER, flow_run_name="prefect-run")  # type: ignore[untyped-decorator]
def places() -> list[tuple[int, str]]:
    return [future.result() for future in where.map(range(6))]


if __name__ == "__main__":
    for number, place in places():
        print(number, place)
