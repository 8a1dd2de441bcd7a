"""The rig of the soak's trials."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flowcluster.clusters import DaskKubernetesCluster
from tests.bench.soak_driver import ON_DASK, Driver
from tests.support.world import World, scale
from tools.install import Installed


@dataclasses.dataclass
class Rig:
    """A namespace for trials, and their random numbers, which `--seed` repeats."""

    installed: Installed
    world: World
    system: World
    chance: random.Random

    def driver(self, program: str = ON_DASK) -> Driver:
        """Return a process with a cluster of its own."""
        return Driver(str(self.installed.kubeconfig), self.world.namespace, program)

    def cluster(self, **more: Any) -> DaskKubernetesCluster:
        """Return a cluster of this process."""
        kubeconfig = str(self.installed.kubeconfig)
        return DaskKubernetesCluster(kubeconfig=kubeconfig, namespace=self.world.namespace, **more)

    def workers(self) -> list[Any]:
        """Return the pods of workers that are not being deleted."""
        return [pod for pod in self.world.pods("worker") if pod.metadata.deletion_timestamp is None]

    def nothing_left(self, seconds: float) -> None:
        """Fail unless everything is gone in time."""
        self.world.wait_empty(seconds)

    @contextmanager
    def away(self, deployment: str) -> Iterator[None]:
        """Kill an operator, and keep it away in the block."""
        self.kill(deployment)
        try:
            yield
        finally:
            scale(self.system, deployment, 1)

    def kill(self, deployment: str) -> None:
        """End an operator without notice, and start none in its place."""
        template = self.system.apps.read_namespaced_deployment(deployment, self.system.namespace).spec.selector
        labels = ",".join(f"{name}={value}" for name, value in template.match_labels.items())
        self.system.apps.patch_namespaced_deployment_scale(deployment, self.system.namespace, {"spec": {"replicas": 0}})
        for pod in self.system.core.list_namespaced_pod(self.system.namespace, label_selector=labels).items:
            self.system.core.delete_namespaced_pod(pod.metadata.name, self.system.namespace, grace_period_seconds=0)
        scale(self.system, deployment, 0)
