"""This process's connection to Ray. A process has one connection at a time, which all its flow runs use.

If the process is already connected to Ray, flow runs use that connection, and do not end it. Otherwise the first flow
run starts an instance or connects to a cluster, and the last one ends the connection.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flowcluster.clusters import address as addresses
from flowcluster.errors import ClusterLost
from flowcluster.runners.ray.connection_thread import ConnectionThread
from flowcluster.runners.ray.prints import Prints
from flowcluster.runners.ray.records import outbox
from flowcluster.runners.ray.shares import tagged
from flowcluster_api.offers import Offers

logger = logging.getLogger("flowcluster.task_runner.ray")


class LossQuery(NamedTuple):
    """Functions that return why a cluster that was created for this process is lost; None if it is not lost.

    Attributes:
        known: returns immediately, from the observations of this process.
        find: returns after a query to the system that runs the cluster.
    """

    known: Callable[[], ClusterLost | None]
    find: Callable[[], ClusterLost | None]


_lock = threading.Lock()
_current: Connection | None = None


class Connection:
    """A connection that flow runs share. As a context manager, it delays `drop` until the end of the block.

    Attributes:
        address: of the cluster; None for an instance that this process started.
        thread: ends the connection after the last flow run; None for a connection that the process already had.
        is_client: whether it is the connection of a Ray client, for which the head executes all calls.
        is_fixed: whether it is known that Ray does not add nodes.
        endpoint: host and port at which the head answers as long as it runs; None if they are unknown.
        loss: queries for the loss of a cluster that was created for this process; used instead of the head's port.
        offers: resources of each node that the cluster can start; None if they are unknown.
        init_kwargs: arguments of ``ray.init``, as far as they are known.
    """

    def __init__(
        self,
        address: str | None,
        thread: ConnectionThread | None,
        loss: LossQuery | None = None,
        offers: Offers | None = None,
        init_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.address = address
        self.init_kwargs = dict(init_kwargs or {})
        self.thread = thread
        self.loss = loss
        self.offers = offers
        self.is_client = False
        self.is_fixed = thread is not None and address is None
        self.endpoint: tuple[str, int] | None = None
        self._users = 0
        self._calls = 0
        self._idle = threading.Condition()

    @property
    def prints(self) -> Prints | None:
        """Return the counter of the output of workers; None if Ray does not show it, or started before the flow run."""
        return self.thread.prints if self.thread else None

    def look_up(self) -> None:
        """Read the properties of the cluster after the process has connected."""
        import ray

        self.is_client = ray.util.client.ray.is_connected()
        if self.is_client:
            self.endpoint = addresses.split_ray(self.address) if self.address and not self.loss else None
        else:
            host, _, port = str(ray.get_runtime_context().gcs_address).rpartition(":")
            self.endpoint = host, int(port)
        _log("Using Ray cluster with %d nodes.", sum(node["Alive"] for node in ray.nodes()))

    def __enter__(self) -> None:
        """Start a call of Ray. `drop` waits for its end: Ray on a node does not survive a shutdown during a call."""
        with self._idle:
            self._calls += 1

    def __exit__(self, *_: object) -> None:
        with self._idle:
            self._calls -= 1
            if not self._calls:
                self._idle.notify_all()

    def drop(self) -> None:
        """End the connection although flow runs use it, because the head is lost.

        Otherwise Ray ends this process one minute after the loss of its head.
        """
        if self.thread:
            if not self.is_client:  # a client's calls wait for the head, and fail when the connection ends
                with self._idle:
                    self._idle.wait_for(lambda: not self._calls, 10)
            self.thread.leave()

    def release(self) -> None:
        """Record that a flow run does not use the connection any more. The last one ends it, and waits for the end."""
        global _current
        with _lock:
            self._users -= 1
            if self._users or not self.thread:
                return
            _current = None if _current is self else _current
            # Hold the lock, because no other connection can start before this one has ended.
            is_lost = self.thread.is_leaving
            if self.prints and not is_lost:
                self.prints.wait()
            self.thread.leave()
            self.thread.wait(is_lost=is_lost)


def current_address() -> str | None:
    """Return the place of the Ray that this process uses, for an error message; None if it does not use Ray."""
    import ray

    with _lock:
        if _current is not None and not (_current.thread and _current.thread.is_leaving):
            return _current.address or "this machine"
    return "the address that it is connected to" if ray.is_initialized() else None


def connect(
    address: str | None,
    init_kwargs: Mapping[str, Any],
    timeout: float,
    loss: LossQuery | None = None,
    offers: Offers | None = None,
    run: str | None = None,
) -> Connection:
    """Return the connection for one more flow run, which has to `release` it.

    Args:
        address: of an existing cluster.
        init_kwargs: further arguments for ``ray.init``.
        timeout: seconds to wait for the cluster.
        loss: finds the loss of a cluster that was created for this process.
        offers: resources of each node that the cluster can start.
        run: UID of the connecting FlowRun on a shared cluster.

    Raises:
        ClusterUnreachable: no process answers at the address within `timeout` seconds.

    Exceptions of ``ray.init`` when it starts an instance are raised, too.
    """
    import ray

    global _current
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address == "local":
        address = None
    with _lock:
        connection = _current
        if connection and connection.thread and connection.thread.is_leaving:  # it lost its head
            connection.thread.wait()
            connection = None
        if connection is None:
            if ray.is_initialized():
                connection = _existing(address, offers)
            else:
                connection = _current = _opened(address, init_kwargs, timeout, loss, offers, run)
        elif address is not None and address != connection.address:
            logger.warning("This process already uses the Ray at %s, and cannot use a second one.", connection.address)
        if ignored := ignored_arguments(init_kwargs, connection.init_kwargs):
            logger.warning(
                "This process is already connected to Ray, so these init_kwargs have no effect: %s. Set them for the "
                "outermost flow.",
                ", ".join(ignored),
            )
        connection._users += 1
    return connection


def ignored_arguments(given: Mapping[str, Any], used: Mapping[str, Any]) -> list[str]:
    """Return the names of given arguments for ``ray.init`` that differ from the used ones."""
    return [name for name, value in given.items() if name not in used or not _is_equal(used[name], value)]


def _is_equal(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except Exception:  # an object that cannot be compared
        return False


def _existing(address: str | None, offers: Offers | None) -> Connection:
    _log("Using the Ray that this process is connected to")
    connection = Connection(address, thread=None, offers=offers)
    connection.look_up()
    return connection


def _opened(
    address: str | None,
    init_kwargs: Mapping[str, Any],
    timeout: float,
    loss: LossQuery | None,
    offers: Offers | None,
    run: str | None,
) -> Connection:
    if address is None:
        logger.info("Creating a local Ray instance")
    else:
        logger.info("Connecting to Ray at %s", address)
        addresses.wait_for_ray(address, timeout)
    tags = {} if run is None else {"job_config": tagged(init_kwargs.get("job_config"), run)}
    thread = ConnectionThread({**init_kwargs, **tags, "address": address or "local"})
    connection = Connection(address, thread, loss, offers, init_kwargs)
    context = thread.start(None if address is None else timeout)
    connection.look_up()
    if url := getattr(context, "dashboard_url", None):
        logger.info("The Ray UI is available at %s", url)
    return connection


def _log(text: str, *values: object) -> None:
    # On a worker, each task that submits others connects. That does not need a line.
    logger.log(logging.DEBUG if outbox.is_in_use else logging.INFO, text, *values)
