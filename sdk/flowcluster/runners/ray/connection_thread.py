"""The thread that starts and ends this process's connection to Ray.

The flow's own thread cannot do this. The processes that Ray starts end with the thread that started them. A Ctrl-C
during the start would leave half of them running. In the main thread, Ray replaces the handler of SIGTERM.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flowcluster.clusters import address as addresses
from flowcluster.errors import ClusterUnreachable
from flowcluster.runners.ray.channels import silence_closed_channels
from flowcluster.runners.ray.prints import Prints

logger = logging.getLogger("flowcluster.task_runner.ray")

#: Seconds to wait for the end of a connection. After that, the flow run continues.
_END_TIMEOUT = 60.0

#: The same after the loss of the head, which Ray (2.60) can wait for during its shutdown. It ends the whole process one
#: minute after the loss. Before that, the flow has to report the loss.
_LOST_END_TIMEOUT = 20.0

#: Seconds for a head to accept a connection after the timeout for its address: it starts a process for a client.
_ACCEPT_SECONDS = 30.0

#: Number of attempts to connect to a head whose server for this client crashes. On a busy machine, three in a row
#: crashed.
_ATTEMPTS = 8

#: Seconds between two of these attempts.
_PAUSE = 1.0


class ConnectionThread:
    """Calls ``ray.init``, and ``ray.shutdown`` when the connection is not needed any more.

    Args:
        arguments: for ``ray.init``.

    Attributes:
        prints: counts the output of workers; None if Ray does not show it.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.prints: Prints | None = None
        self._arguments = {"logging_level": logging.ERROR, **arguments}
        self._begun = threading.Event()
        self._leave = threading.Event()
        self._left = threading.Event()
        self._context: Any = None
        self._error: BaseException | None = None

    def start(self, timeout: float | None) -> Any:
        """Start the connection, and return the result of ``ray.init``.

        Args:
            timeout: seconds to wait for a head, plus `_ACCEPT_SECONDS`; None for an instance that this process starts.

        Raises:
            ClusterUnreachable: the head has not accepted the connection by then.

        Exceptions of ``ray.init`` when it starts an instance are raised, too.
        """
        threading.Thread(target=self._run, name="flowcluster-ray", daemon=True).start()
        address = self._arguments["address"]
        try:
            begun = self._begun.wait() if timeout is None else self._wait_for_begin(timeout + _ACCEPT_SECONDS)
        except BaseException:
            self.leave()
            self.wait()
            raise
        if timeout is not None and not begun:
            self.leave()
            raise ClusterUnreachable(
                f"A process answers at {address}, but Ray did not connect within {timeout + _ACCEPT_SECONDS:g} s. "
                "Check that it is the port of a Ray head, and read the head's logs ray_client_server*: the process "
                "that it starts for each client can hang."
            )
        error = self._error
        if error is None:
            return self._context
        if timeout is None or not isinstance(error, ConnectionError | RuntimeError | TimeoutError):
            raise error
        raise ClusterUnreachable(
            f"The process at {address} does not answer like a Ray head: {error}. Check the address, that Ray and "
            "Python have the same versions on both sides, and RAY_AUTH_MODE and the token. Outside the cluster's "
            "own machines, the address has to begin with ray://."
        ) from error

    def _wait_for_begin(self, timeout: float) -> bool:
        """Wait until the connection has started or failed. Return False at the timeout. Log the wait regularly."""
        address, waited = self._arguments["address"], 0.0
        while not self._begun.wait(min(addresses.REPORT_INTERVAL, timeout - waited)):
            waited += addresses.REPORT_INTERVAL
            if waited >= timeout:
                return False
            logger.info("Waiting for Ray at %s to accept the connection (%.0f of %g s)", address, waited, timeout)
        return True

    @property
    def is_leaving(self) -> bool:
        """Return whether the connection is ending or has ended."""
        return self._leave.is_set()

    def leave(self) -> None:
        """End the connection as soon as it has started."""
        self._leave.set()

    def wait(self, *, is_lost: bool = False) -> None:
        """Return when the connection has ended, or after `_END_TIMEOUT`; `_LOST_END_TIMEOUT` if the head is lost."""
        timeout = _LOST_END_TIMEOUT if is_lost else _END_TIMEOUT
        if not self._left.wait(timeout):
            logger.warning("Ray did not end within %.0f s. The flow run continues.", timeout)

    def _run(self) -> None:
        import ray

        silence_closed_channels()
        with _no_deduplication():
            ray_logger = logging.getLogger("ray")
            level = ray_logger.level
            try:
                self._context = self._connected(ray)
            except BaseException as error:
                self._error = error
            else:
                self.prints = Prints.listen(self._arguments)
            self._begun.set()
            if self._error is None:
                self._leave.wait()
            self._end(ray)
            ray_logger.setLevel(level)
        self._left.set()

    def _connected(self, ray: Any) -> Any:
        """Return the result of ``ray.init``.

        A head forks a server for each client. gRPC's fork handlers crash some of these processes before they execute
        Ray's program (seen with Ray 2.60). The head then refuses the client, and accepts it in a later attempt. Heads
        of flowcluster's operator run without these handlers. Other heads have them.
        """
        from flowcluster.clusters.ray.client import address_with_job_config

        arguments = dict(self._arguments)
        if "job_config" in arguments:
            arguments["address"] = address_with_job_config(arguments["address"])
        attempt = 1
        while True:
            try:
                return ray.init(**arguments)
            except ConnectionAbortedError as error:
                # A runtime environment that could not be created would fail again.
                if attempt == _ATTEMPTS or self._leave.is_set() or "runtime_env" in str(error):
                    raise
            attempt += 1
            logger.info(
                "The head at %s could not start a server for this process; retrying (attempt %d of %d)",
                self._arguments["address"],
                attempt,
                _ATTEMPTS,
            )
            self._leave.wait(_PAUSE)

    def _end(self, ray: Any) -> None:
        if self.prints:
            self.prints.close()
        try:
            ray.shutdown(wait_for_processes=True)
        except TypeError:  # an older Ray
            ray.shutdown()
        except Exception:
            logger.exception("Ray could not be shut down:")


@contextmanager
def _no_deduplication() -> Iterator[None]:
    """In the block, let Ray show every line that workers print, even if several print the same one."""
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
