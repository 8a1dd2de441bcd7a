"""Waiting until something answers at a scheduler's address.

By plain TCP, before the real client dials: asked for a name that does not exist yet, it backs off for
many seconds, while a pod's name appears within two or three.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from ..errors import ClusterUnreachable

logger = logging.getLogger("flowcluster.cluster")

#: Seconds between two attempts, and between two log lines about them.
INTERVAL, REPORT_INTERVAL = 0.1, 10.0

_DEFAULT_PORT = 8786
_TCP_SCHEMES = ("tcp", "tls", "ucx", "ucxx")


def split(address: str) -> tuple[str, int] | None:
    """Host and port of a scheduler's address; None for a scheme that is not TCP.

    Raises ValueError for an address that no scheduler can have.
    """
    if "://" not in address:
        address = f"tcp://{address}"
    parts = urlsplit(address)
    if parts.scheme in ("http", "https"):
        raise ValueError(f"A Dask scheduler does not answer at {address!r}; use tcp://HOST:{_DEFAULT_PORT}.")
    if parts.scheme not in _TCP_SCHEMES:
        return None
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        raise ValueError(f"{address!r} is no address of a Dask scheduler, such as tcp://HOST:{_DEFAULT_PORT}.")
    return host, port or _DEFAULT_PORT


def wait_for(
    address: str,
    timeout: float,
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    connect: Callable[[str, int, float], None] | None = None,
) -> None:
    """Return as soon as something listens at `address`, within `timeout` seconds.

    Raises `ClusterUnreachable` with what to check. `now`, `sleep` and `connect` are for tests.
    """
    target = split(address)
    if target is None:
        return
    host, port = target
    start = now()
    reported = start + 1.0 - REPORT_INTERVAL  # the first line comes after a second
    while True:
        left = start + timeout - now()
        try:
            (connect or _connect)(host, port, max(0.1, min(2.0, left)))
            return
        except OSError as error:
            cause = error
        waited = now() - start
        if waited >= timeout:
            raise ClusterUnreachable(_advice(address, host, timeout, cause)) from cause
        if now() - reported >= REPORT_INTERVAL:
            reported = now()
            logger.info("Waiting for %s to answer (%.0f of %g s; %s)", address, waited, timeout, cause)
        sleep(INTERVAL)


def _connect(host: str, port: int, timeout: float) -> None:
    socket.create_connection((host, port), timeout).close()


def _advice(address: str, host: str, timeout: float, cause: OSError) -> str:
    if isinstance(cause, socket.gaierror):
        check = f"Check that the name {host} is right and resolves from here."
    elif isinstance(cause, ConnectionRefusedError):
        check = "The host answers but nothing listens on that port: check the port, and that the scheduler runs."
    else:
        check = "Check that the scheduler runs, and that no firewall or network policy is in the way."
    return f"Nothing answered at {address} within {timeout:g} s ({cause}). {check}"
