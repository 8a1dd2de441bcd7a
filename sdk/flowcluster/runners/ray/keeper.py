"""The thread that begins this process's connection to Ray, and ends it.

Not the flow's: its children die with the thread that started them, a Ctrl-C in the middle would leave
half of them, and in the main thread Ray takes the handler of SIGTERM for itself.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flowcluster.errors import ClusterUnreachable
from flowcluster.runners.ray.channels import silence_closed_channels
from flowcluster.runners.ray.prints import Prints

logger = logging.getLogger("flowcluster.task_runner.ray")

#: Seconds for which a connection may take to end, beyond which it is left to itself.
_END_TIMEOUT = 60.0

#: Attempts to connect to a head whose server for this client crashes. On a busy machine, three in a row crashed.
_ATTEMPTS = 8

#: Seconds between two of these attempts.
_PAUSE = 1.0


class Keeper:
    """Begins a connection with what ``ray.init`` is given.

    Attributes:
        prints: what workers print, on its way to the terminal; None where that is not our business.
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
        """Begin, and give what ``ray.init`` gave.

        Raises `ClusterUnreachable` if a head does not take us in within `timeout` seconds and some more;
        with None, for an instance to be started, whatever ``ray.init`` raises.
        """
        threading.Thread(target=self._run, name="flowcluster-ray", daemon=True).start()
        address = self._arguments["address"]
        try:
            # Beyond the time for which it is to be tried: what answers may take its time to take us in.
            begun = self._begun.wait(None if timeout is None else timeout + 30)
        except BaseException:
            self.leave()
            self.wait()
            raise
        if not begun:
            self.leave()
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

    @property
    def is_leaving(self) -> bool:
        """Whether the connection ends, or has ended."""
        return self._leave.is_set()

    def leave(self) -> None:
        """End the connection as soon as it has begun."""
        self._leave.set()

    def wait(self) -> None:
        """Return when it has ended, or if that takes too long."""
        if not self._left.wait(_END_TIMEOUT):
            logger.warning("Ray did not end within %.0f s; it is left to itself.", _END_TIMEOUT)

    def _run(self) -> None:
        import ray

        silence_closed_channels()
        with _lines_of_all():
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
        from flowcluster.clusters.ray_client import address_with_job_config

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
