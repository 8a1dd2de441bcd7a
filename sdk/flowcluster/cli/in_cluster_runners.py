"""Task runners for the cluster that the operator created for a run. They replace the runner of the run's flow."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from flowcluster.agent.protocol import Adapt
from flowcluster.cli.pod_agent import PodAgent
from flowcluster.clusters.address import timeout_seconds
from flowcluster.clusters.ray.access import inside
from flowcluster.task_runners import DaskTaskRunner, RayTaskRunner
from flowcluster_api import driver
from flowcluster_api.offers import Offers, from_env


class InClusterDaskTaskRunner(DaskTaskRunner):
    """Runs tasks on the run's own Dask cluster.

    Args:
        address: of the scheduler.
        pod_agent: reports to the operator how many workers the tasks need; None if the driver reports no demand.
        when_edited: see `flowcluster.agent.protocol.Adapt`.
    """

    pod_agent: PodAgent | None = None
    #: Until a node has the rules of a new Service, connections to its address leave the cluster. A proxy that inspects
    #: TLS accepts them, with a certificate of its own.
    _retry_seconds = 30.0

    def __init__(self, address: str, pod_agent: PodAgent | None, *, when_edited: bool = False) -> None:
        super().__init__(address=address)
        self.pod_agent, self._when_edited = pod_agent, when_edited

    @property
    def name(self) -> str:
        """Name of the runner that the flow would use."""
        return DaskTaskRunner.__name__

    def open(self) -> None:
        """Connect. From then on the agent reports to the operator what the cluster needs."""
        super().open()
        if self.pod_agent is not None:
            self.pod_agent.adapt(Adapt(str(self.address), when_edited=self._when_edited))

    def __getstate__(self) -> dict[str, Any]:
        # Another process has no agent.
        return {name: value for name, value in super().__getstate__().items() if name != "pod_agent"}


class InClusterRayTaskRunner(RayTaskRunner):
    """Runs tasks on the run's own Ray cluster, which the driver's pod joins as a node. Ray scales the cluster."""

    _access: contextlib.ExitStack | None = None

    @property
    def name(self) -> str:
        """Name of the runner that the flow would use."""
        return RayTaskRunner.__name__

    def open(self) -> None:
        """Join the cluster and connect to it."""
        assert self.address is not None
        with contextlib.ExitStack() as access:
            self.activity = f"waiting for {self.address}"
            has_token = driver.ENV_CLUSTER_OPEN not in os.environ
            access.enter_context(inside(self.address, timeout_seconds(), has_token=has_token))
            super().open()
            self._access = access.pop_all()

    def _offers(self) -> Offers | None:
        return from_env(os.environ)

    def close(self, cancel: bool = False) -> None:
        """Disconnect, and leave the cluster."""
        access, self._access = self._access or contextlib.ExitStack(), None
        with access:
            super().close(cancel)
