"""What shows the operator that the driver it started lives, and what its cluster needs."""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
from collections.abc import Mapping

from flowcluster.agent.handle import Agent
from flowcluster.agent.messages import Adapt, Job, Lost
from flowcluster.cli.problems import Problem
from flowcluster.context import Counts, FlowContext
from flowcluster.kube.choice import TOKEN_FOLDER, Choice
from flowcluster_api import driver as api
from flowcluster_api import names

logger = logging.getLogger("flowcluster.cluster")

#: Seconds in which a driver starts that need not tell anything sooner.
LATER_SECONDS = 20.0

_PACKAGES = ("kubernetes", "aiohttp", "psutil")


class Presence:
    """The agent of a driver in a pod, begun when it is needed, and in any case after some seconds.

    Starting takes it more than a second of a CPU, when scheduler, workers and flow want to start, too. A driver whose
    Lease was never renewed is not missed: the kubelet tells of its end.
    """

    def __init__(self, job: Job, seconds: float) -> None:
        self._job = job
        self._agent: Agent | None = None
        self._run: FlowContext | None = None
        self._wanted: Adapt | None = None
        self._is_over = False
        self._lock = threading.Lock()
        self._later = threading.Timer(seconds, self._begin)
        self._later.daemon = True
        self._later.start()

    def adapt(self, wanted: Adapt) -> None:
        """Report to the operator what the cluster needs, from now on in this way.

        What counts only after an edit begins no agent: it waits for one.
        """
        if wanted.when_edited:
            with self._lock:
                self._wanted, agent = wanted, self._agent
        else:
            agent = self._begin()
        if agent is not None:
            agent.adapt(wanted)

    def watch(self, run: FlowContext) -> None:
        """Have the task runs of this flow run reported with each heartbeat."""
        self._run = run

    def stop(self) -> None:
        """End the agent; none is begun any more."""
        self._later.cancel()
        with self._lock:
            self._is_over, agent = True, self._agent
        if agent is not None:
            agent.stop()

    def _count(self) -> Counts | None:
        return self._run.counts() if self._run is not None else None

    def _begin(self) -> Agent | None:
        with self._lock:
            if self._agent is None and not self._is_over:
                self._agent = Agent(self._job, _on_lost, self._count)
                if self._wanted is not None:
                    self._agent.adapt(self._wanted)
            return self._agent


def presence_of(environment: Mapping[str, str]) -> Presence | None:
    """What shows that this driver lives; None if the operator did not start it.

    Without the packages or the rights that an agent takes, a run goes on without one. Raises `Problem` if its cluster
    would not grow then.
    """
    uid = environment.get(api.ENV_RUN_UID)
    if not uid:
        return None
    name, adapts = environment[api.ENV_RUN_NAME], environment.get(api.ENV_CLUSTER_ADAPTS) == api.ADAPTS_NOW
    if (lack := _lack()) is not None:
        if adapts:
            raise Problem("ScalingUnavailable", f"The number of workers cannot follow the work: {lack}")
        logger.warning(
            "If this pod's node dies, it is noticed late; edited bounds of workers or idle timeouts have no effect: %s",
            lack,
        )
        return None
    job = Job(
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
    return Presence(job, 0.0 if adapts else LATER_SECONDS)


def _lack() -> str | None:
    missing = [package for package in _PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        return f"the image lacks {', '.join(missing)}; install flowcluster[kubernetes] in it."
    if not (TOKEN_FOLDER / "token").exists():
        return "the pod has no ServiceAccount token; leave automountServiceAccountToken out of spec.flow.template."
    return None


def _on_lost(lost: Lost) -> None:
    logger.error("This run is over. %s: %s", lost.reason, lost.message)
