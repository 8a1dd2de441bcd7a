"""The cluster that the operator made for a run, as the task runner of its flow."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from flowcluster.agent.messages import Adapt
from flowcluster.cli.presence import Presence
from flowcluster.clusters import ray_access
from flowcluster.clusters.address import timeout_seconds
from flowcluster.task_runners import DaskTaskRunner, RayTaskRunner
from flowcluster_api import driver
from flowcluster_api.offers import Offers, from_env


class OwnDaskCluster(DaskTaskRunner):
    """Tasks on the run's own cluster; with a presence, it grows and shrinks as they need it."""

    presence: Presence | None = None

    def __init__(self, address: str, presence: Presence | None, *, when_edited: bool = False) -> None:
        super().__init__(address=address)
        self.presence, self._when_edited = presence, when_edited

    @property
    def name(self) -> str:
        """That of the runner that it is to the flow."""
        return DaskTaskRunner.__name__

    def open(self) -> None:
        """Connect. From then on the agent reports to the operator what the cluster needs."""
        super().open()
        if self.presence is not None:
            self.presence.adapt(Adapt(str(self.address), when_edited=self._when_edited))

    def __getstate__(self) -> dict[str, Any]:
        # Elsewhere nobody hears the agent.
        return {name: value for name, value in super().__getstate__().items() if name != "presence"}


class OwnRayCluster(RayTaskRunner):
    """Tasks on the run's own Ray cluster, of which the driver's pod becomes a node; Ray scales it by itself."""

    _access: contextlib.ExitStack | None = None

    @property
    def name(self) -> str:
        """That of the runner that it is to the flow."""
        return RayTaskRunner.__name__

    def open(self) -> None:
        """Join the cluster and connect to it."""
        assert self.address is not None
        with contextlib.ExitStack() as access:
            self.activity = f"waiting for {self.address}"
            has_token = driver.ENV_CLUSTER_OPEN not in os.environ
            access.enter_context(ray_access.inside(self.address, timeout_seconds(), has_token=has_token))
            super().open()
            self._access = access.pop_all()

    def _offers(self) -> Offers | None:
        return from_env(os.environ)

    def close(self, cancel: bool = False) -> None:
        """Disconnect, and leave the cluster."""
        access, self._access = self._access or contextlib.ExitStack(), None
        with access:
            super().close(cancel)
