"""A cluster on Kubernetes that this process asked for: its FlowRun, and the agent that keeps it."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from flowcluster.agent.handle import Agent
from flowcluster.agent.lease import how_ended
from flowcluster.agent.messages import Adapt, Job, Lost
from flowcluster.clusters.child_requests import ChildRequests
from flowcluster.clusters.manifest import Object, driven_by
from flowcluster.clusters.shared import described
from flowcluster.clusters.starting import wait_until_usable
from flowcluster.clusters.versions import Remedy, own_image, shared_image
from flowcluster.clusters.waiting_line import WaitingLine
from flowcluster.context import Counts, FlowContext, flow_of_task
from flowcluster.errors import ClusterError, ClusterLost, KubernetesError
from flowcluster.kube.access import Access, connect
from flowcluster.kube.choice import Choice
from flowcluster.kube.flow_runs import FlowRuns
from flowcluster_api import driver, names
from flowcluster_api.driver import Outcome

logger = logging.getLogger("flowcluster.cluster")

RELEASED = Outcome(state="Completed", reason="ClusterReleased", message="the driver gave the cluster back", exit_code=0)
#: Seconds between two queries for the loss of a cluster.
_QUERY_PAUSE = 0.2


class Claim:
    """Asks for what `manifest` says, and has it kept until it is released or this process has ended.

    `adapts` says that its workers will follow the work from the start.

    Attributes:
        name: of the FlowRun, once it exists.
        lost: that it was ended by somebody else, and why, once it was.
    """

    def __init__(self, manifest: Object, choice: Choice, adapts: bool) -> None:
        self.manifest = manifest
        self._adapts = adapts
        self.name, self._uid = "", ""
        self.lost: ClusterLost | None = None
        self._next_query = 0.0
        self._querying = threading.Lock()
        self._choice = choice
        self._count = _counting(flow_of_task())
        self._given_up = threading.Event()
        self._requests: ChildRequests | None = None
        self._flow_runs: FlowRuns | None = None
        self._agent: Agent | None = None
        self._keeper: weakref.finalize | None = None  # type: ignore[type-arg]

    @property
    def ref(self) -> Object | None:
        """The ``spec.cluster.ref`` of a run on a SharedCluster; None for a run with a cluster of its own."""
        ref: Object | None = self.manifest["spec"]["cluster"].get("ref")
        return ref

    @property
    def remedy(self) -> Remedy:
        """What to do where the cluster's image does not fit this process."""
        if self.ref is not None:
            return shared_image(described(self.ref))
        return own_image(self.manifest["spec"]["cluster"].get("image") or "the operator's default")

    @property
    def is_known(self) -> bool:
        """Whether the cluster lets this process in by itself: it is in a pod that has the run's keys."""
        return self._requests is not None and driver.ENV_KEYS in os.environ

    def bring_up(self, report: Callable[[str], None] | None) -> Object:
        """Create the FlowRun and wait until its cluster can be used; its status then.

        `report` is told how far it is; without one, a line in the terminal shows it. Raises `KubernetesError` or
        `ClusterNotStarted`.
        """
        access = connect(self._choice)
        self._flow_runs = FlowRuns(access)
        is_driver = access.is_inside and access.namespace == os.environ.get(driver.ENV_NAMESPACE)
        if is_driver and driver.ENV_RUN_UID in os.environ:
            self._requests = ChildRequests(self._flow_runs, os.environ)
        if self._requests is not None:
            created = self._requests.create(self.manifest)
        else:
            created = self._flow_runs.create(driven_by(self._flow_runs.user(), self.manifest))
        self.name, self._uid = created["metadata"]["name"], created["metadata"]["uid"]
        on_lost = weakref.WeakMethod(self._on_lost)
        self._agent = agent = Agent(self._job(access), lambda lost: (on_lost() or _ignore)(lost), self._count)
        # At the interpreter's exit, too.
        self._keeper = weakref.finalize(self, _release_abandoned, agent)
        with contextlib.ExitStack() as showing:
            tell = report or showing.enter_context(WaitingLine(self.name)).tell
            return wait_until_usable(self._flow_runs, created, self._given_up, tell)

    @property
    def uid(self) -> str | None:
        """UID of the FlowRun; None before there is one."""
        return self._uid or None

    def forward(self, pod: str, ports: list[int]) -> dict[int, int]:
        """Return local ports, by the ports of the cluster's pod that they lead to.

        Raises:
            KubernetesError: the API server forwards none.
        """
        return self._started()[1].forward(pod, ports, (self.ref or {}).get("namespace"))

    def resize(self, minimum: int, maximum: int | None, wanted: Adapt | None = None) -> None:
        """Write other bounds into the FlowRun, and have the operator told what the cluster needs in this way, if any.

        Raises `KubernetesError` if the API server refuses it, `ClusterError` before there is a FlowRun.
        """
        flow_runs, agent = self._started()
        if self._requests is not None:
            self._requests.resize(self.name, minimum, maximum)
        else:
            flow_runs.patch(self.name, {"cluster": {"workers": {"minimum": minimum, "maximum": maximum}}})
        if wanted is not None:  # after it, as the agent looks for the bounds at once
            agent.adapt(wanted)

    def look(self, wanted: Adapt) -> None:
        """Report to the operator what runs on the cluster, whose number of workers changes only by edits."""
        self._started()[1].adapt(wanted)

    def ready_workers(self) -> int:
        """How many workers are ready.

        Raises `KubernetesError` if the API server does not say, `ClusterError` before there is a FlowRun.
        """
        status = self._started()[0].get(self.name).get("status") or {}
        workers = (status.get("cluster") or {}).get("workers") or {}  # a run that is suspended has none
        return int(workers.get("ready", 0))

    def story(self) -> str:
        """What has happened to the FlowRun, a line each; nothing before there is one."""
        if self._flow_runs is None or not self.name:
            return ""
        status = self._flow_runs.get(self.name).get("status") or {}
        return "\n".join(f"{item['time']} {item['reason']}: {item['message']}" for item in status.get("story") or [])

    def give_up(self, error: BaseException) -> None:
        """Release what there is of it, after `error`."""
        self._given_up.set()
        message = f"the driver gave up: {type(error).__name__}: {error}".removesuffix(": ")
        self.release(Outcome(state="Cancelled", reason="Cancelled", message=message, exit_code=1))

    def release(self, outcome: Outcome) -> None:
        """Give it back, with what its record shall say of the work that it was for. Never raises."""
        if self._agent is None or self._keeper is None or self._keeper.detach() is None:
            return
        if problem := self._agent.release(outcome):
            logger.warning("FlowRun %s could not be released, and goes with its lease: %s", self.name, problem)

    def _started(self) -> tuple[FlowRuns, Agent]:
        if self._flow_runs is None or self._agent is None:
            raise ClusterError("The cluster has not been started.")
        return self._flow_runs, self._agent

    def _job(self, access: Access) -> Job:
        return Job(
            choice=self._choice._replace(namespace=access.namespace),
            run=self.name,
            uid=self._uid,
            lease=names.child_name(self.name, self._uid),
            duration=self.manifest["spec"]["leaseDurationSeconds"],
            holder=f"{socket.gethostname()}/{os.getpid()}",
            pid=os.getpid(),
            adapts=self._adapts,
            parent_lease=self._requests.lease if self._requests is not None else None,
            kind=self.manifest["spec"]["cluster"].get("kind"),
        )

    def find_loss(self) -> ClusterLost | None:
        """Query the API server whether the run has ended; return how, or None if it has not, or does not answer.

        The loss of a worker or of the scheduler can reach the driver before its agent looks at the FlowRun again. Many
        can be lost together: queries at the same time, and within a fraction of a second after an answer, return what
        that answer was.
        """
        with self._querying:
            if self.lost is None and self._flow_runs is not None and time.monotonic() >= self._next_query:
                with contextlib.suppress(KubernetesError):
                    run = self._flow_runs.find(self.name, self._uid)
                    if ending := how_ended(run, self.name, was_running=True):
                        self._on_lost(ending)
                self._next_query = time.monotonic() + _QUERY_PAUSE
        return self.lost

    def _on_lost(self, lost: Lost) -> None:
        if self.lost is not None:
            return
        what = "its cluster gone" if self.ref is None else f"with it its use of {described(self.ref)}"
        self.lost = ClusterLost(f"FlowRun {self.name} is over, and {what}. {lost.reason}: {lost.message}")
        logger.error(str(self.lost))


def _release_abandoned(agent: Agent) -> None:
    """Release a cluster that the program dropped, or did not release before its end.

    A garbage collection calls this in any thread, also in one that holds a lock of the agent, or that reads its
    answers. Hence the release has a thread of its own, for which Python's exit waits. After that, the exit itself calls
    this.
    """
    if threading.main_thread().is_alive():
        threading.Thread(target=agent.release, args=[RELEASED], name="flowcluster-release").start()
    else:
        agent.release(RELEASED)


def _counting(run: FlowContext | None) -> Callable[[], Counts | None] | None:
    """Return what counts the task runs of a flow run while it exists; None for a cluster outside of any."""
    if run is None:
        return None
    reference = weakref.ref(run)

    def count() -> Counts | None:
        run = reference()
        return run.counts() if run is not None else None

    return count


def _ignore(lost: Lost) -> Any:
    """Nobody is there any more to be told."""
