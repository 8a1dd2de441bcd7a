"""The thread that begins this process's connection to Ray, and ends it.

The flow's own thread cannot: the processes that Ray starts die with the thread that started them, a Ctrl-C during the
start would leave half of them, and in the main thread Ray replaces the handler of SIGTERM.
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

#: Seconds to wait for the end of a connection, after which the flow run continues without it.
_END_TIMEOUT = 60.0

#: Seconds that a head has to accept a connection beyond the timeout for its address: it starts a process for a client.
_ACCEPT_SECONDS = 30.0

#: Attempts to connect to a head whose server for this client crashes. On a busy machine, three in a row crashed.
_ATTEMPTS = 8

#: Seconds between two of these attempts.
_PAUSE = 1.0


class ConnectionThread:
    """Calls ``ray.init``, and ``ray.shutdown`` when the connection is not needed any more.

    Args:
        arguments: for ``ray.init``.

    Attributes:
        prints: counts what workers print; None where Ray does not show it.
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
        """Begin the connection, and return what ``ray.init`` returned.

        Args:
            timeout: seconds to wait for a head, and `_ACCEPT_SECONDS` more; None for an instance that is started here.

        Raises:
            ClusterUnreachable: the head has not accepted the connection by then.

        Whatever ``ray.init`` raises when it starts an instance is raised, too.
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
                f"Something answers at {address}, but Ray did not connect within {timeout + _ACCEPT_SECONDS:g} s. "
                "Check that it is the port of a Ray head, and look at the head's logs ray_client_server*: the process "
                "that it starts for each client may hang."
            )
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

    def _wait_for_begin(self, timeout: float) -> bool:
        """Wait until the connection has begun or failed; False at the timeout. Log the wait now and then."""
        address, waited = self._arguments["address"], 0.0
        while not self._begun.wait(min(addresses.REPORT_INTERVAL, timeout - waited)):
            waited += addresses.REPORT_INTERVAL
            if waited >= timeout:
                return False
            logger.info("Waiting for Ray at %s to accept the connection (%.0f of %g s)", address, waited, timeout)
        return True

    @property
    def is_leaving(self) -> bool:
        """Whether the connection ends, or has ended."""
        return self._leave.is_set()

    def leave(self) -> None:
        """End the connection, as soon as it has begun."""
        self._leave.set()

    def wait(self) -> None:
        """Return when the connection has ended, or after `_END_TIMEOUT`."""
        if not self._left.wait(_END_TIMEOUT):
            logger.warning("Ray did not end within %.0f s; it is left to itself.", _END_TIMEOUT)

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
        """Return what ``ray.init`` returns.

        A head forks a server for each client. gRPC's fork handlers crash some of these processes before they
        execute Ray's program (seen with Ray 2.60). The head then refuses the client, and accepts it in a later
        attempt. Heads of flowcluster's operator run without these handlers; others have them.
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
                # An environment that could not be made would fail again.
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
        except TypeError:  # of an older Ray
            ray.shutdown()
        except Exception:
            logger.exception("Ray could not be shut down:")


@contextmanager
def _no_deduplication() -> Iterator[None]:
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
