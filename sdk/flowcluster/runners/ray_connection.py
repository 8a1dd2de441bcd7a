"""This process's connection to Ray, of which there is one at a time, whatever number of flow runs use it.

A Ray that the process has already is used and left alone. Otherwise the first flow run starts a Ray, or
connects to one, and the last one to leave ends that.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..clusters import address as addresses
from ..errors import ClusterUnreachable
from .ray_prints import Prints
from .ray_worker import outbox

logger = logging.getLogger("flowcluster.task_runner.ray")

#: Seconds for which a connection may take to end, beyond which it is left to itself.
_END_TIMEOUT = 60.0

_lock = threading.Lock()
_current: Connection | None = None


class Connection:
    """What flow runs use together.

    Attributes:
        address: where Ray was to be found; None for an instance that was started here.
        is_ours: whether it ends with the last flow run that uses it.
        is_client: whether it is a Ray client's, for which the head does everything.
        is_fixed: whether no nodes are ever added by Ray itself.
        endpoint: host and port at which the head answers as long as it lives; None if it is not known.
        prints: what workers print, on its way to the terminal; None where that is not our business.
    """

    def __init__(self, address: str | None, is_ours: bool) -> None:
        self.address = address
        self.is_ours = is_ours
        self.is_client = False
        self.is_fixed = is_ours and address is None
        self.endpoint: tuple[str, int] | None = None
        self.prints: Prints | None = None
        self._users = 0
        self._calls = 0
        self._idle = threading.Condition()
        self._leave = threading.Event()
        self._left = threading.Event()

    def look_up(self) -> None:
        """Find out what there is to know of the cluster, once it is connected."""
        import ray

        self.is_client = ray.util.client.ray.is_connected()
        if self.is_client:
            self.endpoint = addresses.split_ray(self.address) if self.address else None
        else:
            host, _, port = str(ray.get_runtime_context().gcs_address).rpartition(":")
            self.endpoint = host, int(port)
        _tell("Using Ray cluster with %d nodes.", sum(node["Alive"] for node in ray.nodes()))

    def __enter__(self) -> None:
        """In the block, the connection is not ended by `drop`: Ray does not survive that during a call."""
        with self._idle:
            self._calls += 1

    def __exit__(self, *_: object) -> None:
        with self._idle:
            self._calls -= 1
            if not self._calls:
                self._idle.notify_all()

    def drop(self) -> None:
        """End it, although flow runs use it: the head is gone.

        Ray would end this process a minute after it lost its head.
        """
        if self.is_ours:
            with self._idle:
                self._idle.wait_for(lambda: not self._calls, 10)
            self._leave.set()

    def release(self) -> None:
        """One flow run less; the last one ends the connection, and waits for the end."""
        global _current
        with _lock:
            self._users -= 1
            if self._users or not self.is_ours:
                return
            _current = None if _current is self else _current
            # With the lock, as nobody can begin a connection before this one has ended.
            if self.prints and not self._leave.is_set():
                self.prints.wait()
            self._leave.set()
            if not self._left.wait(_END_TIMEOUT):
                logger.warning("Ray did not end within %.0f s; it is left to itself.", _END_TIMEOUT)


def connect(address: str | None, init_kwargs: Mapping[str, Any], timeout: float) -> Connection:
    """The connection to be used by one more flow run, which has to `release` it.

    Raises `ClusterUnreachable` if nothing answers at the address within `timeout` seconds, and whatever
    ``ray.init`` raises when it starts an instance.
    """
    import ray

    global _current
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address == "local":
        address = None
    with _lock:
        connection = _current
        if connection is not None and connection._leave.is_set():  # it lost its head
            connection._left.wait(_END_TIMEOUT)
            connection = None
        if connection is None:
            if ray.is_initialized():
                connection = _existing(address)
            else:
                connection = _current = _opened(address, init_kwargs, timeout)
        elif address is not None and address != connection.address:
            logger.warning("This process already uses the Ray at %s, and cannot use a second one.", connection.address)
        connection._users += 1
    return connection


def _existing(address: str | None) -> Connection:
    _tell("Using the Ray that this process is connected to")
    connection = Connection(address, is_ours=False)
    connection.look_up()
    return connection


def _opened(address: str | None, init_kwargs: Mapping[str, Any], timeout: float) -> Connection:
    if address is None:
        logger.info("Creating a local Ray instance")
    else:
        logger.info("Connecting to Ray at %s", address)
        addresses.wait_for_ray(address, timeout)
    connection = Connection(address, is_ours=True)
    keeper = _Keeper(connection, {"logging_level": logging.ERROR, **init_kwargs, "address": address or "local"})
    context = keeper.start(None if address is None else timeout)
    connection.look_up()
    if url := getattr(context, "dashboard_url", None):
        logger.info("The Ray UI is available at %s", url)
    return connection


def _tell(text: str, *values: object) -> None:
    # On a worker it goes without saying, for each task that submits others.
    logger.log(logging.DEBUG if outbox.is_in_use else logging.INFO, text, *values)


class _Keeper:
    """The thread that begins a connection and ends it.

    Not the flow's: its children die with the thread that started them, a Ctrl-C in the middle would leave
    half of them, and in the main thread Ray takes the handler of SIGTERM for itself.
    """

    def __init__(self, connection: Connection, arguments: dict[str, Any]) -> None:
        self._connection = connection
        self._arguments = arguments
        self._begun = threading.Event()
        self._context: Any = None
        self._error: BaseException | None = None

    def start(self, timeout: float | None) -> Any:
        """Begin, and give what ``ray.init`` gave."""
        threading.Thread(target=self._run, name="flowcluster-ray", daemon=True).start()
        address = self._arguments["address"]
        try:
            # Beyond the time for which it is to be tried: what answers may take its time to take us in.
            begun = self._begun.wait(None if timeout is None else timeout + 30)
        except BaseException:
            self._connection._leave.set()
            self._connection._left.wait(_END_TIMEOUT)
            raise
        if not begun:
            self._connection._leave.set()
            raise ClusterUnreachable(f"Something answers at {address}, but Ray did not connect within {timeout:g} s.")
        error = self._error
        if error is None:
            return self._context
        if timeout is None or not isinstance(error, ConnectionError | RuntimeError | TimeoutError):
            raise error
        raise ClusterUnreachable(
            f"Something answers at {address}, but not as a Ray head should: {error}. Check the address, that Ray and "
            "Python have the same versions on both sides, and RAY_AUTH_MODE and the token. Outside of the cluster's "
            "own machines the address has to begin with ray://."
        ) from error

    def _run(self) -> None:
        import ray

        with _lines_of_all():
            ray_logger = logging.getLogger("ray")
            level = ray_logger.level
            try:
                self._context = ray.init(**self._arguments)
            except BaseException as error:
                self._error = error
            else:
                self._connection.prints = Prints.listen(self._arguments)
            self._begun.set()
            if self._error is None:
                self._connection._leave.wait()
            self._end(ray)
            ray_logger.setLevel(level)
        self._connection._left.set()

    def _end(self, ray: Any) -> None:
        if self._connection.prints:
            self._connection.prints.close()
        try:
            ray.shutdown(wait_for_processes=True)
        except TypeError:  # of an older Ray
            ray.shutdown()
        except Exception:
            logger.exception("Ray could not be shut down:")


@contextmanager
def _lines_of_all() -> Iterator[None]:
    """In the block, Ray shows every line that workers print, also if several print the same."""
    from ray._private import ray_logging

    before = getattr(ray_logging, "RAY_DEDUP_LOGS", None)
    if before is None or "RAY_DEDUP_LOGS" in os.environ:
        yield
        return
    ray_logging.RAY_DEDUP_LOGS = False
    try:
        yield
    finally:
        ray_logging.RAY_DEDUP_LOGS = before
