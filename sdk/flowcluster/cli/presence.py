"""What shows the operator that the driver it started lives, and what its cluster needs."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Mapping
from typing import Any

from flowcluster_api import driver as api
from flowcluster_api import names

from ..agent.handle import Agent
from ..agent.messages import Adapt, Job, Lost
from ..kube.choice import TOKEN_FOLDER, Choice
from ..task_runners import DaskTaskRunner
from .problems import Problem

logger = logging.getLogger("flowcluster.cluster")

_PACKAGES = ("kubernetes", "aiohttp", "psutil")


def agent_of(environment: Mapping[str, str]) -> Agent | None:
    """The agent of this driver; None if the operator did not start it.

    Without the packages or the rights that an agent takes, a run goes on without one. Raises `Problem` if its cluster
    would not grow then.
    """
    uid = environment.get(api.ENV_RUN_UID)
    if not uid:
        return None
    if (lack := _lack()) is not None:
        if api.ENV_CLUSTER_ADAPTS in environment:
            raise Problem("ScalingUnavailable", f"The number of workers cannot follow the work: {lack}")
        logger.warning("If this pod's node dies, it is noticed late: %s", lack)
        return None
    name = environment[api.ENV_RUN_NAME]
    job = Job(
        choice=Choice(namespace=environment[api.ENV_NAMESPACE]),
        run=name,
        uid=uid,
        lease=names.child_name(name, uid),
        duration=int(environment[api.ENV_LEASE_DURATION]),
        holder=f"{environment[api.ENV_POD_NAME]}/{os.getpid()}",
        pid=os.getpid(),
        ends=False,
    )
    return Agent(job, _on_lost)


class OwnCluster(DaskTaskRunner):
    """Tasks on the run's own cluster; with an agent, it grows and shrinks as they need it."""

    agent: Agent | None = None

    def __init__(self, address: str, agent: Agent | None) -> None:
        super().__init__(address=address)
        self.agent = agent

    @property
    def name(self) -> str:
        """That of the runner that it is to the flow."""
        return DaskTaskRunner.__name__

    def open(self) -> None:
        """Connect; from then on the operator is told what the cluster needs."""
        super().open()
        if self.agent is not None:
            self.agent.adapt(Adapt(str(self.address)))

    def __getstate__(self) -> dict[str, Any]:
        # Elsewhere nobody hears the agent.
        return {name: value for name, value in super().__getstate__().items() if name != "agent"}


def _lack() -> str | None:
    missing = [package for package in _PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        return f"the image lacks {', '.join(missing)}; install flowcluster[kubernetes] in it."
    if not (TOKEN_FOLDER / "token").exists():
        return "the pod has no ServiceAccount token; leave automountServiceAccountToken out of spec.flow.template."
    return None


def _on_lost(lost: Lost) -> None:
    logger.error("This run is over. %s: %s", lost.reason, lost.message)
