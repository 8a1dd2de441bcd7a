"""The claim of this process on a cluster on Kubernetes: a FlowRun, and the agent that renews the FlowRun's Lease."""

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

from flowcluster._output.waiting_line import WaitingLine
from flowcluster.agent.handle import AgentHandle
from flowcluster.agent.lease_renewal import how_ended
from flowcluster.agent.protocol import Adapt, AgentJob, Lost
from flowcluster.clusters.child_requests import ChildRequests
from flowcluster.clusters.manifest import Object, with_lease_user
from flowcluster.clusters.readiness import wait_until_usable
from flowcluster.clusters.shared_ref import describe_ref
from flowcluster.clusters.versions import Remedy, own_image, shared_image
from flowcluster.context import Counts, FlowContext, flow_of_task
from flowcluster.errors import ClusterError, ClusterLost, KubernetesError
from flowcluster.kube.access import Access, connect
from flowcluster.kube.choice import Choice
from flowcluster.kube.flow_runs import FlowRuns
from flowcluster_api import driver, names
from flowcluster_api.driver import Outcome

logger = logging.getLogger("flowcluster.cluster")

RELEASED = Outcome(state="Completed", reason="ClusterReleased", message="the driver released the cluster", exit_code=0)
#: Seconds between two queries for the loss of a cluster.
_QUERY_PAUSE = 0.2


class Claim:
    """Requests a cluster by a FlowRun, and keeps it until it is released or this process has ended.

    Args:
        manifest: of the FlowRun.
        choice: the Kubernetes to use.
        adapts: whether the number of workers follows the work from the start.

    Attributes:
        name: of the FlowRun; empty before it exists.
        lost: the loss of the cluster, with its cause; None while the cluster exists.
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
        self._agent: AgentHandle | None = None
        self._finalizer: weakref.finalize | None = None  # type: ignore[type-arg]

    @property
    def ref(self) -> Object | None:
        """Return ``spec.cluster.ref`` of a run on a SharedCluster; None for a run with a cluster of its own."""
        ref: Object | None = self.manifest["spec"]["cluster"].get("ref")
        return ref

    @property
    def remedy(self) -> Remedy:
        """Return the remedy for an image of the cluster that does not fit this process."""
        if self.ref is not None:
            return shared_image(describe_ref(self.ref))
        return own_image(self.manifest["spec"]["cluster"].get("image") or "the operator's default")

    @property
    def is_reachable(self) -> bool:
        """Return whether this process is in a pod with the run's credentials, and needs no port-forward."""
        return self._requests is not None and driver.ENV_KEYS in os.environ

    def bring_up(self, report: Callable[[str], None] | None) -> Object:
        """Create the FlowRun, wait until its cluster is usable, and return its status.

        Args:
            report: called with the progress, as text. Without it, a line in the terminal shows the progress.

        Raises:
            KubernetesError: the API server refuses the FlowRun or cannot be reached.
            ClusterNotStarted: the cluster cannot start; the message names the cause.
        """
        access = connect(self._choice)
        self._flow_runs = FlowRuns(access)
        is_driver = access.is_inside and access.namespace == os.environ.get(driver.ENV_NAMESPACE)
        if is_driver and driver.ENV_RUN_UID in os.environ:
            self._requests = ChildRequests(self._flow_runs, os.environ)
        if self._requests is not None:
            created = self._requests.create(self.manifest)
        else:
            created = self._flow_runs.create(with_lease_user(self._flow_runs.user(), self.manifest))
        self.name, self._uid = created["metadata"]["name"], created["metadata"]["uid"]
        on_lost = weakref.WeakMethod(self._on_lost)
        self._agent = agent = AgentHandle(self._job(access), lambda lost: (on_lost() or _ignore)(lost), self._count)
        # Also called at the interpreter's exit.
        self._finalizer = weakref.finalize(self, _release_abandoned, agent)
        with contextlib.ExitStack() as showing:
            show = report or showing.enter_context(WaitingLine(self.name)).show
            return wait_until_usable(self._flow_runs, created, self._given_up, show)

    @property
    def uid(self) -> str | None:
        """UID of the FlowRun; None before it exists."""
        return self._uid or None

    def forward(self, pod: str, ports: list[int]) -> dict[int, int]:
        """Forward ports of a pod of the cluster, and return the local ports by the ports of the pod.

        Raises:
            KubernetesError: the pod cannot be reached.
        """
        return self._started()[1].forward(pod, ports, (self.ref or {}).get("namespace"))

    def resize(self, minimum: int, maximum: int | None, request: Adapt | None = None) -> None:
        """Change the bounds of workers in the FlowRun.

        Args:
            minimum: the minimum of workers.
            maximum: the maximum of workers.
            request: parameters of the agent's reports of the demand; None for no reports.

        Raises:
            KubernetesError: the API server refuses the bounds or cannot be reached.
            ClusterError: there is no FlowRun yet.
        """
        flow_runs, agent = self._started()
        if self._requests is not None:
            self._requests.resize(self.name, minimum, maximum)
        else:
            flow_runs.patch(self.name, {"cluster": {"workers": {"minimum": minimum, "maximum": maximum}}})
        if request is not None:  # after the patch, as the agent reads the bounds immediately
            agent.adapt(request)

    def observe(self, request: Adapt) -> None:
        """Let the agent report the work of a cluster whose number of workers changes only by edits."""
        self._started()[1].adapt(request)

    def ready_workers(self) -> int:
        """Return the number of ready workers.

        Raises:
            KubernetesError: the API server refuses the request or cannot be reached.
            ClusterError: there is no FlowRun yet.
        """
        status = self._started()[0].get(self.name).get("status") or {}
        workers = (status.get("cluster") or {}).get("workers") or {}  # a suspended run has no cluster
        return int(workers.get("ready", 0))

    def story(self) -> str:
        """Return the story of the FlowRun, one entry a line; empty before the FlowRun exists."""
        if self._flow_runs is None or not self.name:
            return ""
        status = self._flow_runs.get(self.name).get("status") or {}
        return "\n".join(f"{item['time']} {item['reason']}: {item['message']}" for item in status.get("story") or [])

    def give_up(self, error: BaseException) -> None:
        """Release whatever exists of the claim, because of `error`."""
        self._given_up.set()
        message = f"the driver gave up: {type(error).__name__}: {error}".removesuffix(": ")
        self.release(Outcome(state="Cancelled", reason="Cancelled", message=message, exit_code=1))

    def release(self, outcome: Outcome) -> None:
        """Release the cluster. Never raises.

        Args:
            outcome: the end of the work, for the FlowRun's record.
        """
        if self._agent is None or self._finalizer is None or self._finalizer.detach() is None:
            return
        if problem := self._agent.release(outcome):
            logger.warning("FlowRun %s could not be released, and ends when its lease expires: %s", self.name, problem)

    def _started(self) -> tuple[FlowRuns, AgentHandle]:
        if self._flow_runs is None or self._agent is None:
            raise ClusterError("The cluster has not been started.")
        return self._flow_runs, self._agent

    def _job(self, access: Access) -> AgentJob:
        return AgentJob(
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
        """Query the API server whether the run has ended, and return the loss.

        The driver can observe the loss of a worker or of the scheduler before its agent reads the FlowRun again. Many
        workers can be lost together. So calls at the same time, and within `_QUERY_PAUSE`, share one query.

        Returns:
            The loss; None if the run has not ended, or if the API server does not answer.
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
        what = "its cluster is lost" if self.ref is None else f"with it its use of {describe_ref(self.ref)}"
        self.lost = ClusterLost(f"FlowRun {self.name} is over, and {what}. {lost.reason}: {lost.message}")
        logger.error(str(self.lost))


def _release_abandoned(agent: AgentHandle) -> None:
    """Release a cluster that the program dropped, or did not release before its end.

    A garbage collection calls this in any thread, even in a thread that holds a lock of the agent or reads its answers.
    So another thread releases the cluster, and Python's exit waits for it. During the exit, the calling thread does it.
    """
    if threading.main_thread().is_alive():
        threading.Thread(target=agent.release, args=[RELEASED], name="flowcluster-release").start()
    else:
        agent.release(RELEASED)


def _counting(run: FlowContext | None) -> Callable[[], Counts | None] | None:
    """Return a function that counts the task runs of a flow run as long as the run exists; None without a flow run."""
    if run is None:
        return None
    reference = weakref.ref(run)

    def count() -> Counts | None:
        run = reference()
        return run.counts() if run is not None else None

    return count


def _ignore(lost: Lost) -> Any:
    """Do nothing: the claim does not exist any more."""
