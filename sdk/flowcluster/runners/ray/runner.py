"""The task runner for Ray: for an instance of the flow run, an existing cluster, or the process's own connection.

``import flowcluster`` imports this module. So it imports modules that only a run on Ray needs inside functions.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from flowcluster import context
from flowcluster._util import extras
from flowcluster.errors import ClusterError, ClusterLost
from flowcluster.runners.base import TaskCall, TaskRunner
from flowcluster.runners.flow_run_uid import run_uid
from flowcluster.runners.losses import find_loss, known_loss
from flowcluster.runners.ray.options import current
from flowcluster.states import State
from flowcluster_api.offers import Offers, from_env

if TYPE_CHECKING:
    from flowcluster.clusters.temporary import ClusterClass
    from flowcluster.runners.ray.connection import Connection
    from flowcluster.runners.ray.session import RaySession
    from flowcluster.runners.ray.task_run import RayResult


class RayTaskRunner(TaskRunner):
    """Executes submitted tasks on Ray.

    If the process is already connected to Ray, flow runs use that connection and do not shut Ray down. Otherwise the
    runner calls ``ray.init`` when the flow run starts, and ``ray.shutdown`` when it ends. With a `cluster_class`, each
    flow run gets a cluster of its own.

    Args:
        address: of an existing Ray cluster, such as ``ray://head:10001``, or ``head:6379`` on one of its machines, or
            ``auto``. The default is the value of ``RAY_ADDRESS``, or without it a new instance on this machine. The
            flow run waits for the cluster for ``FLOWCLUSTER_CLUSTER_TIMEOUT`` seconds (60 by default).
        init_kwargs: further arguments for ``ray.init``.
        cluster_class: creates a cluster for each flow run, such as ``flowcluster.clusters.RayKubernetesCluster``: a
            class, a function, or the dotted name of one. It returns an object with an ``address`` for ``ray.init``.
        cluster_kwargs: arguments for it.
        adapt_kwargs: arguments for the cluster's ``adapt``. Without them, ``adapt`` is not called.

    Arrays in results of other tasks are read-only, because all processes of a machine share them.

    Raises:
        ValueError: `address` is invalid, is among `init_kwargs`, or is given together with an argument for a new
            cluster.
    """

    concurrency: ClassVar[str] = "in parallel"
    cluster_kind: ClassVar[str] = "Ray"

    #: Ray uses about 8 kB of the driver's memory for each call that has not ended. More calls at a time are not faster.
    max_in_flight: ClassVar[int | None] = 5_000

    #: UID of the FlowRun on a shared cluster. The runner of the flow sets it for the runners of tasks.
    run: str | None = None

    _connection: Connection | None = None
    _cluster: Any = None
    _resources: contextlib.ExitStack | None = None
    _session: RaySession | None = None

    def __init__(
        self,
        address: str | None = None,
        init_kwargs: Mapping[str, Any] | None = None,
        cluster_class: ClusterClass | None = None,
        cluster_kwargs: Mapping[str, Any] | None = None,
        adapt_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if address is not None and (cluster_class is not None or cluster_kwargs or adapt_kwargs):
            raise ValueError(
                "Give either the address of an existing cluster, or cluster_class, cluster_kwargs and adapt_kwargs "
                "for a new one, not both."
            )
        if cluster_class is None and (cluster_kwargs or adapt_kwargs):
            raise ValueError("cluster_kwargs and adapt_kwargs are for a cluster_class, which is not given.")
        if init_kwargs and "address" in init_kwargs:
            raise ValueError("Give the address as an argument of its own, not among init_kwargs.")
        if address is not None and address != "local":
            from flowcluster.clusters.address import split_ray

            split_ray(address)  # refuses an invalid address
        self.address = address
        self.init_kwargs = dict(init_kwargs or {})
        self.cluster_class = cluster_class
        self.cluster_kwargs = dict(cluster_kwargs or {})
        self.adapt_kwargs = dict(adapt_kwargs or {})

    def open(self) -> None:
        """Find, start or create Ray, and connect to it.

        Raises:
            ClusterUnreachable: no head answers.
            ClusterNotStarted: Ray is not installed.

        Exceptions of ``ray.init`` and of the cluster class are raised, too.
        """
        super().open()
        extras.required("ray", "ray", self.name)
        # Not at the top: the import of these modules takes as long as the import of Ray.
        from flowcluster.clusters.address import timeout_seconds
        from flowcluster.runners.ray.connection import LossQuery, connect
        from flowcluster.runners.ray.session import RaySession

        with contextlib.ExitStack() as resources:
            address = self.address if self.cluster_class is None else self._create(self.cluster_class, resources)
            loss = None if self._cluster is None else LossQuery(self._known_loss, self._find_loss)
            run = self.run or run_uid(self._cluster, self.address)
            self._connection = connect(address, self.init_kwargs, timeout_seconds(), loss, self._offers(), run)
            resources.callback(self._connection.release)
            self._session = RaySession(self._connection, functools.partial(on_worker, run), run)
            self._resources = resources.pop_all()
        self.activity = None

    def _create(self, cluster_class: ClusterClass, resources: contextlib.ExitStack) -> str:
        """Create a cluster, and return its address. `resources` closes it."""
        from flowcluster.clusters.temporary import temporary_cluster
        from flowcluster.runners.ray.connection import current_address

        if (used := current_address()) is not None:
            raise ClusterError(
                f"This process uses the Ray at {used}, and cannot use a second one at the same time. Run one after the "
                "other, or each in a process of its own."
            )
        self.activity = "creating a Ray cluster"
        token = context.activity.set(self._set_progress)
        try:
            self._cluster = resources.enter_context(
                temporary_cluster(cluster_class, self.cluster_kwargs, self.adapt_kwargs, "Ray")
            )
        finally:
            context.activity.reset(token)
        return str(self._cluster.address)

    def _offers(self) -> Offers | None:
        """Return the resources of each node that the cluster can start; None if they are unknown."""
        return getattr(self._cluster, "offers", None)

    def _set_progress(self, progress: str) -> None:
        self.activity = f"creating a Ray cluster: {progress}"

    def bound(self, changed: Callable[[int | None], None]) -> int | None:
        """Return the limit of the run's share of a shared cluster, or `max_in_flight`."""
        session = self._session
        if session is None:
            return self.max_in_flight
        session.share_changed = lambda: changed(session.share.bound(self.max_in_flight))
        return session.share.bound(self.max_in_flight)

    def submit(self, call: TaskCall, done: Callable[[State], None]) -> RayResult | None:
        """Send `call` to Ray, with the options of `remote_options`."""
        if self._session is None:
            raise RuntimeError(f"The task runner {self.name} has not been started.")
        return self._session.submit(call, done)

    def chains(self, handle: Any) -> bool:
        """Return whether `handle` is a run of this flow run, whose result Ray can pass on."""
        return self._session is not None and getattr(handle, "session", None) is self._session

    def cancel(self, handle: RayResult) -> None:
        """Interrupt the run. Stop its worker if it does not end within some seconds."""
        if self._session is not None:
            self._session.cancel(handle)

    def retries(self) -> int:
        """Return ``max_retries`` of `remote_options`."""
        return max(0, int(current().get("max_retries") or 0))

    def trouble(self) -> ClusterLost | None:
        """Return the loss of the head, with its cause for a cluster of this run; None while the head exists."""
        return self._known_loss() or (self._session.lost() if self._session else None)

    def _known_loss(self) -> ClusterLost | None:
        return known_loss(self._cluster)

    def _find_loss(self) -> ClusterLost | None:
        return find_loss(self._cluster)

    def close(self, cancel: bool = False) -> None:
        """Disconnect from Ray, and shut it down if it was started for the flow run."""
        session, self._session, self._connection = self._session, None, None
        if self.outcome is not None and hasattr(self._cluster, "outcome"):
            self._cluster.outcome = self.outcome()
        self.activity = None if self._cluster is None else "closing the Ray cluster"
        resources, self._resources = self._resources or contextlib.ExitStack(), None
        try:
            with resources:
                if session is not None:
                    session.close(cancel)
        finally:
            super().close(cancel)
            self._cluster = self.activity = None

    def __repr__(self) -> str:
        if self.cluster_class is not None:
            return f"{self.name}(cluster_class={self.cluster_class!r})"
        return f"{self.name}(address={self.address!r})" if self.address else f"{self.name}()"


class OnWorker(RayTaskRunner):
    """The runner of a task on a Ray worker, for runs that the task submits. It uses the worker's own connection."""

    @property
    def name(self) -> str:
        """Return the name of the flow's runner."""
        return RayTaskRunner.__name__

    def _offers(self) -> Offers | None:
        return from_env(os.environ)


def on_worker(run: str | None = None) -> RayTaskRunner:
    """Return an open runner for runs that a task on a Ray worker submits.

    Args:
        run: UID of the task's FlowRun on a shared cluster.
    """
    runner = OnWorker()
    runner.run = run
    runner.open()
    return runner
