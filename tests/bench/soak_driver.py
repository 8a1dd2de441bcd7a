"""A driver for the soak: a process with a cluster of its own, which can be stopped and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil

#: Seconds of its lease.
SECONDS = 10

ON_DASK = f"""
import sys
from distributed import Client
from flowcluster.clusters import DaskKubernetesCluster

with DaskKubernetesCluster(
    n_workers=1, lease_duration_seconds={SECONDS}, kubeconfig=sys.argv[1], namespace=sys.argv[2]
) as cluster:
    client = Client(cluster)
    for number in range(3):
        print(client.submit(sum, [number, 1]).result(), flush=True)
        if not sys.stdin.readline():
            break
"""

ON_RAY = f"""
import sys
import ray
from flowcluster.clusters import RayKubernetesCluster

with RayKubernetesCluster(
    n_workers=1, lease_duration_seconds={SECONDS}, kubeconfig=sys.argv[1], namespace=sys.argv[2]
) as cluster:
    ray.init(cluster.address, logging_level="ERROR")
    add = ray.remote(lambda *numbers: sum(numbers))
    for number in range(3):
        print(ray.get(add.remote(number, 1)), flush=True)
        if not sys.stdin.readline():
            break
    ray.shutdown()
"""


class Driver:
    """The process, which runs one of these programs, and its agent."""

    def __init__(self, kubeconfig: str, namespace: str, program: str = ON_DASK) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", program, kubeconfig, namespace],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def until_connected(self) -> None:
        """Wait for the first result."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "1\n", "the driver got no cluster"

    def answers(self) -> bool:
        """Return whether its cluster still works."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._process.stdout.readline() == "2\n"

    def send(self, number: int) -> None:
        """Send the driver a signal."""
        self._process.send_signal(number)

    def kill(self, with_agent: bool) -> None:
        """Kill the driver, and its agent at the same moment if `with_agent`."""
        children = psutil.Process(self._process.pid).children()
        os.killpg(self._process.pid, signal.SIGKILL)
        if with_agent:
            for child in children:
                child.kill()
        self._process.communicate()
