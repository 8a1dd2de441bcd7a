"""The agent of a driver that the operator started in a pod: it renews the Lease, and reports the demand."""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
from collections.abc import Mapping

from flowcluster.agent.handle import AgentHandle
from flowcluster.agent.protocol import Adapt, AgentJob, Lost
from flowcluster.cli.startup_error import StartupError
from flowcluster.context import Counts, FlowContext
from flowcluster.kube.choice import TOKEN_FOLDER, Choice
from flowcluster_api import driver as api
from flowcluster_api import names

logger = logging.getLogger("flowcluster.cluster")

#: Seconds in which a driver starts before its agent starts, unless the agent is needed sooner.
LATER_SECONDS = 20.0

_PACKAGES = ("kubernetes", "aiohttp", "psutil")


class PodAgent:
    """The agent of a driver in a pod. It starts when it is needed, and in any case after some seconds.

    Its start takes more than a second of CPU time, while scheduler, workers and flow start. Until the first renewal of
    the Lease, the operator expects no heartbeat: the kubelet reports the driver's end.

    Args:
        job: what the agent does.
        seconds: seconds after which the agent starts in any case.
    """

    def __init__(self, job: AgentJob, seconds: float) -> None:
        self._job = job
        self._agent: AgentHandle | None = None
        self._run: FlowContext | None = None
        self._request: Adapt | None = None
        self._is_over = False
        self._lock = threading.Lock()
        self._later = threading.Timer(seconds, self._begin)
        self._later.daemon = True
        self._later.start()

    def adapt(self, request: Adapt) -> None:
        """Let the agent report how many workers the cluster needs, from now on as `request` describes.

        A request that has an effect only after an edit does not start the agent. The agent gets it when it starts.
        """
        if request.when_edited:
            with self._lock:
                self._request, agent = request, self._agent
        else:
            agent = self._begin()
        if agent is not None:
            agent.adapt(request)

    def watch(self, run: FlowContext) -> None:
        """Report the task runs of this flow run with each heartbeat."""
        self._run = run

    def stop(self) -> None:
        """End the agent, and start no other."""
        self._later.cancel()
        with self._lock:
            self._is_over, agent = True, self._agent
        if agent is not None:
            agent.stop()

    def _count(self) -> Counts | None:
        return self._run.counts() if self._run is not None else None

    def _begin(self) -> AgentHandle | None:
        with self._lock:
            if self._agent is None and not self._is_over:
                self._agent = AgentHandle(self._job, _on_lost, self._count)
                if self._request is not None:
                    self._agent.adapt(self._request)
            return self._agent


def pod_agent_of(environment: Mapping[str, str]) -> PodAgent | None:
    """Return the agent of this driver; None if the operator did not start the driver.

    If packages or rights that an agent needs are missing, a run with a fixed number of workers continues without one.

    Raises:
        StartupError: without an agent, the run's cluster would not grow.
    """
    uid = environment.get(api.ENV_RUN_UID)
    if not uid:
        return None
    name, adapts = environment[api.ENV_RUN_NAME], environment.get(api.ENV_CLUSTER_ADAPTS) == api.ADAPTS_NOW
    if (lack := _lack()) is not None:
        if adapts:
            raise StartupError("ScalingUnavailable", f"The number of workers cannot follow the work: {lack}")
        logger.warning(
            "If this pod's node dies, the operator notices it late. Edited bounds of workers or idle timeouts have no "
            "effect: %s",
            lack,
        )
        return None
    job = AgentJob(
        choice=Choice(namespace=environment[api.ENV_NAMESPACE]),
        run=name,
        uid=uid,
        lease=names.child_name(name, uid),
        duration=int(environment[api.ENV_LEASE_DURATION]),
        holder=f"{environment[api.ENV_POD_NAME]}/{os.getpid()}",
        pid=os.getpid(),
        ends=False,
        adapts=adapts or api.ENV_CLUSTER_IDLE_TIMEOUT in environment,
        kind=environment.get(api.ENV_CLUSTER_KIND),
    )
    return PodAgent(job, 0.0 if adapts else LATER_SECONDS)


def _lack() -> str | None:
    missing = [package for package in _PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        return f"the image lacks {', '.join(missing)}; install flowcluster[kubernetes] in it."
    if not (TOKEN_FOLDER / "token").exists():
        return "the pod has no ServiceAccount token; leave automountServiceAccountToken out of spec.flow.template."
    return None


def _on_lost(lost: Lost) -> None:
    logger.error("This run is over. %s: %s", lost.reason, lost.message)
