"""A program that has a cluster of its own, and evaluates each line that it reads: see `tests.support.driver_program`.

Its arguments: the kind of the cluster, the seconds of its lease, the kubeconfig and the namespace.
"""

import ctypes
import os  # noqa: F401 # for the expressions
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

#: Prefix of the lines that are answers: Ray prints others.
MARK = "=>"


class Cluster(NamedTuple):
    """A cluster of any kind, and how to use it.

    Attributes:
        cluster: the cluster.
        submit: lets a worker call a function with arguments.
        result: returns the result of what `submit` returned.
        is_connected: returns whether this program is connected to the cluster.
    """

    cluster: Any
    submit: Callable[..., Any]
    result: Callable[[Any], Any]
    is_connected: Callable[[], bool]


def on_dask(**kwargs: Any) -> Cluster:
    from distributed import Client

    from flowcluster.clusters import DaskKubernetesCluster

    cluster = DaskKubernetesCluster(**kwargs)
    client = Client(cluster)
    return Cluster(cluster, client.submit, lambda future: future.result(), lambda: client.status == "running")


def on_ray(**kwargs: Any) -> Cluster:
    import ray

    from flowcluster.clusters import RayKubernetesCluster

    def submit(function: Callable[..., Any], *values: Any) -> Any:
        return ray.remote(lambda: function(*values)).remote()

    cluster = RayKubernetesCluster(**kwargs)
    ray.init(cluster.address, logging_level="ERROR")
    return Cluster(cluster, submit, ray.get, ray.is_initialized)


def hold_interpreter(seconds: int) -> int:
    """Let no other thread run Python code for this time, as a C extension that keeps the GIL does."""
    return int(ctypes.PyDLL(None).sleep(seconds))


def last(seconds: float) -> None:
    """Work for this time: no test can end it while the connection to the cluster is broken."""
    threading.Event().wait(seconds)


if __name__ == "__main__":
    kind, lease_seconds, kubeconfig, namespace = sys.argv[1:]
    create = {"Dask": on_dask, "Ray": on_ray}[kind]
    # Names for the expressions.
    cluster, submit, result, is_connected = create(
        n_workers=1, lease_duration_seconds=int(lease_seconds), kubeconfig=kubeconfig, namespace=namespace
    )
    first = submit(sum, [1, 2])
    print(MARK, result(first), flush=True)
    for line in sys.stdin:
        try:
            answer = eval(line)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        print(MARK, answer, flush=True)
