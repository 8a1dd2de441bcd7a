"""The task runner for Dask: for an existing cluster, or for one that exists as long as the flow run.

``import flowcluster`` imports this module. So it imports modules that only a run on Dask needs inside functions.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flowcluster import context
from flowcluster._util import extras
from flowcluster.errors import ClusterLost, ClusterUnreachable
from flowcluster.runners.dask.session_runner import SessionRunner
from flowcluster.runners.flow_run_uid import run_uid
from flowcluster.runners.losses import find_loss, known_loss

if TYPE_CHECKING:
    from flowcluster.clusters.temporary import ClusterClass
    from flowcluster.runners.dask.worker_count import WorkerCount

logger = logging.getLogger("flowcluster.task_runner.dask")

#: Seconds between two attempts to connect.
RETRY_INTERVAL = 0.5

#: Seconds to wait for the client to disconnect.
CLOSE_TIMEOUT = 5.0

#: The class of a temporary cluster, by default.
DEFAULT_CLASS = "distributed.LocalCluster"


class DaskTaskRunner(SessionRunner):
    """Executes submitted tasks on a Dask cluster.

    Args:
        address: of the scheduler of an existing cluster, such as ``tcp://scheduler:8786``; ``http://scheduler`` means
            the same. The flow run waits for it for ``FLOWCLUSTER_CLUSTER_TIMEOUT`` seconds (60 by default).
        cluster_class: creates a cluster for each flow run: a class, a function, or the dotted name of one; by
            default ``distributed.LocalCluster``.
        cluster_kwargs: arguments for it.
        adapt_kwargs: arguments for the cluster's ``adapt``. Without them, ``adapt`` is not called.
        client_kwargs: further arguments for ``distributed.Client``.
        performance_report_path: file or fsspec URL for Dask's report on each flow run, as HTML. Failed flow runs have a
            report, too. Needs ``bokeh``.

    Raises:
        ValueError: `address` is not a valid address of a scheduler, or is given together with an argument for a new
            cluster.
    """

    _resources: contextlib.ExitStack | None = None
    _worker_count: WorkerCount | None = None
    _cluster: Any = None
    #: Seconds in which an answer that is not a scheduler's is followed by another attempt to connect.
    _retry_seconds = 0.0

    def __init__(
        self,
        address: str | None = None,
        cluster_class: ClusterClass | None = None,
        cluster_kwargs: Mapping[str, Any] | None = None,
        adapt_kwargs: Mapping[str, Any] | None = None,
        client_kwargs: Mapping[str, Any] | None = None,
        performance_report_path: str | os.PathLike[str] | None = None,
    ) -> None:
        if address is not None:
            if cluster_class is not None or cluster_kwargs or adapt_kwargs:
                raise ValueError(
                    "Give either the address of an existing cluster, or cluster_class, cluster_kwargs and "
                    "adapt_kwargs for a new one, not both."
                )
            from flowcluster.clusters.address import split

            split(address)  # refuses an invalid address
        for name, kwargs in (("cluster_kwargs", cluster_kwargs), ("client_kwargs", client_kwargs)):
            if kwargs and "asynchronous" in kwargs:
                raise ValueError(f"The runner sets 'asynchronous' itself. Remove it from {name}.")
        self.address = address
        self.cluster_class = cluster_class
        self.cluster_kwargs = dict(cluster_kwargs or {})
        self.adapt_kwargs = dict(adapt_kwargs or {})
        self.client_kwargs = dict(client_kwargs or {})
        self.performance_report_path = None if performance_report_path is None else os.fspath(performance_report_path)

    @property
    def client(self) -> Any:
        """The flow run's ``distributed.Client``. Raises RuntimeError while the runner is not open."""
        return self._opened.client

    def open(self) -> None:
        """Find or create the cluster, and connect to it.

        Raises:
            ClusterUnreachable: no scheduler answers.
            ClusterNotStarted: Dask is not installed, or the script would run again in the processes of the cluster.

        Exceptions of the cluster class are raised, too.
        """
        super().open()
        self.activity = f"waiting for {self.address}" if self.address else "creating a Dask cluster"
        # Import before the wait for a scheduler: the import takes as long as the start of a scheduler.
        extras.required("distributed", "dask", self.name)

        from flowcluster.clusters.address import for_client, timeout_seconds, wait_for
        from flowcluster.clusters.main_guard import require_guard, starts_local_processes
        from flowcluster.clusters.temporary import find_class, is_async_only, temporary_cluster
        from flowcluster.runners.dask.nested import on_worker
        from flowcluster.runners.dask.report import reported
        from flowcluster.runners.dask.session import DaskSession
        from flowcluster.runners.dask.worker_count import WorkerCount
        from flowcluster_api.tags import dask_client_name

        with contextlib.ExitStack() as resources:
            # The flow can use the process's default client itself.
            options = {"set_as_default": False, **self.client_kwargs, "asynchronous": False}
            if self.address is None:
                cluster_class = self.cluster_class or DEFAULT_CLASS
                if starts_local_processes(make := find_class(cluster_class), self.cluster_kwargs):
                    require_guard(self.name)
                token = context.activity.set(self._set_progress)
                try:
                    target: Any = resources.enter_context(
                        temporary_cluster(make, self.cluster_kwargs, self.adapt_kwargs)
                    )
                finally:
                    context.activity.reset(token)
                self._cluster = target
                address = target.scheduler_address
                if is_async_only(type(target)) or not hasattr(target, "status"):
                    # A client cannot use the cluster object: it has an event loop of its own, or lacks attributes.
                    options.setdefault("security", getattr(target, "security", None))
                    target = address
            else:
                target = address = for_client(self.address)
                wait_for(address, timeout_seconds())
            run = run_uid(self._cluster, self.address)
            if run is not None:
                options["name"] = dask_client_name(run, options.get("name"))
            client = self._connected(target, address, options)
            resources.callback(client.close, CLOSE_TIMEOUT)
            if self.performance_report_path is not None:
                resources.enter_context(reported(client, self.performance_report_path))
            nested = functools.partial(on_worker, run)
            self._session = DaskSession(client, address, nested, self._known_loss, self._find_loss, run=run)
            self._worker_count = WorkerCount(client)
            self._resources = resources.pop_all()
        self.activity = None
        if link := client.dashboard_link:
            logger.info("The Dask dashboard is available at %s", link)

    def _connected(self, target: Any, address: str, options: dict[str, Any]) -> Any:
        """Return a client of the cluster."""
        import distributed

        deadline = time.monotonic() + self._retry_seconds
        while True:
            try:
                return distributed.Client(target, **options)
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise ClusterUnreachable(self._unreachable(address, error)) from error
            time.sleep(RETRY_INTERVAL)

    def _unreachable(self, address: str, error: OSError) -> str:
        if self.address is None:
            from flowcluster.clusters.temporary import find_class, path_of

            made_by = path_of(find_class(self.cluster_class or DEFAULT_CLASS))
            return (
                f"No Dask scheduler answers at {address}, the address of the cluster that `{made_by}` made: {error}. "
                "Check that its scheduler runs, that this process reaches the address, and TLS."
            )
        return (
            f"The process at {address} does not answer like a Dask scheduler: {error}. Check the address, the versions "
            "of Dask on both sides, and TLS."
        )

    def workers(self) -> int | None:
        """Return the number of workers that were connected to the scheduler at the last query."""
        count = self._worker_count
        return count.value if count else None

    def _known_loss(self) -> ClusterLost | None:
        return known_loss(self._cluster)

    def _find_loss(self) -> ClusterLost | None:
        return find_loss(self._cluster)

    def _set_progress(self, progress: str) -> None:
        self.activity = f"creating a Dask cluster: {progress}"

    def close(self, cancel: bool = False) -> None:
        """Disconnect, and close the cluster if it is the run's own."""
        session, self._session, self._worker_count = self._session, None, None
        if self.outcome is not None and hasattr(self._cluster, "outcome"):
            self._cluster.outcome = self.outcome()
        self.activity = None if self.address else "closing the Dask cluster"
        resources, self._resources = self._resources or contextlib.ExitStack(), None
        with _quiet() if session and session.lost() else contextlib.nullcontext(), resources:
            if session is not None:
                session.close(cancel)
        super().close(cancel)
        self._cluster = self.activity = None

    def __repr__(self) -> str:
        if self.address:
            return f"{self.name}(address={self.address!r})"
        return f"{self.name}(cluster_class={self.cluster_class or DEFAULT_CLASS!r})"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drop the log records of a client that stops reconnecting: the loss of its scheduler is already reported."""
    client = logging.getLogger("distributed.client")
    client.addFilter(_nothing)
    try:
        yield
    finally:
        client.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False
