"""Parse addresses of clusters, and wait until a Dask scheduler or a Ray head answers at one.

The wait uses plain TCP before the real client connects. If a name does not exist yet, the client backs off for many
seconds, but a pod's name appears within two or three.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from flowcluster.errors import ClusterUnreachable
from flowcluster_api.driver import ENV_CLUSTER_TIMEOUT
from flowcluster_api.ports import DASK_SCHEDULER, RAY_CLIENT, RAY_GCS

logger = logging.getLogger("flowcluster.cluster")

#: Seconds between two attempts, and between two log lines about them.
INTERVAL, REPORT_INTERVAL = 0.1, 10.0

#: Seconds to wait for an existing cluster by default.
DEFAULT_TIMEOUT = 60.0

_TCP_SCHEMES = ("tcp", "tls", "ucx", "ucxx")
#: Schemes that users write for a scheduler, and Dask's schemes for them.
_WEB_SCHEMES = {"http": "tcp", "https": "tls"}


def split(address: str) -> tuple[str, int] | None:
    """Return host and port of a scheduler's address; None for a scheme that is not TCP.

    ``http://HOST`` means the scheduler on that host, and ``https://HOST`` a scheduler that uses TLS.

    Raises:
        ValueError: the address is invalid for a scheduler.
    """
    if "://" not in address:
        address = f"tcp://{address}"
    scheme, host, port = _parts(address)
    if scheme == "ray":
        raise ValueError(f"{address!r} is the address of a Ray head: use RayTaskRunner(address={address!r}).")
    if scheme not in (*_TCP_SCHEMES, *_WEB_SCHEMES):
        return None
    if not host:
        raise ValueError(f"{address!r} is not an address of a Dask scheduler, such as tcp://HOST:{DASK_SCHEDULER}.")
    return host, port or DASK_SCHEDULER


def for_client(address: str) -> str:
    """Return a scheduler's address for Dask: with a scheme that Dask knows, and with a port.

    Raises:
        ValueError: the address is invalid for a scheduler.
    """
    target = split(address)
    if target is None:
        return address
    host, port = target
    scheme = address.partition("://")[0].lower() if "://" in address else "tcp"
    shown = f"[{host}]" if ":" in host else host
    return f"{_WEB_SCHEMES.get(scheme, scheme)}://{shown}:{port}"


def split_ray(address: str) -> tuple[str, int] | None:
    """Return host and port of a Ray head's address; None for "auto", which Ray itself resolves.

    Raises:
        ValueError: the address is invalid for a Ray head.
    """
    if address == "auto":
        return None
    scheme, host, port = _parts(address if "://" in address else f"//{address}")
    if not host or scheme not in ("", "ray"):
        is_of_dask = scheme in _TCP_SCHEMES
        other = f" For a Dask scheduler use DaskTaskRunner(address={address!r})." if is_of_dask else ""
        raise ValueError(
            f"{address!r} is not an address of a Ray head, such as ray://{host or 'HOST'}:{RAY_CLIENT}, or "
            f"{host or 'HOST'}:{RAY_GCS} on a machine of the cluster.{other}"
        )
    return host, port or (RAY_CLIENT if scheme else RAY_GCS)


def _parts(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port; None as the host if the URL is invalid."""
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port
    except ValueError:
        return scheme, None, None


def timeout_seconds() -> float:
    """Return the seconds to wait for an existing cluster.

    Raises:
        ValueError: the environment variable is not a number.
    """
    text = os.environ.get(ENV_CLUSTER_TIMEOUT, "")
    try:
        return float(text) if text else DEFAULT_TIMEOUT
    except ValueError:
        raise ValueError(f"{ENV_CLUSTER_TIMEOUT} must be a number of seconds, not {text!r}.") from None


def wait_for_ray(address: str, timeout: float) -> None:
    """Do what `wait_for` does, for the address of a Ray head."""
    if target := split_ray(address):
        wait_for(address, timeout, target=target, what="Ray head")


def wait_for(
    address: str,
    timeout: float,
    *,
    target: tuple[str, int] | None = None,
    what: str = "scheduler",
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    connect: Callable[[str, int, float], None] | None = None,
) -> None:
    """Return as soon as a process listens at `address`.

    Args:
        address: of the cluster.
        timeout: seconds to wait.
        target: host and port; by default those of `address` as the address of a Dask scheduler.
        what: the kind of process that listens there, for error messages.
        now: returns the time in seconds, for tests.
        sleep: waits for some seconds, for tests.
        connect: opens and closes a connection to host and port within some seconds, for tests.

    Raises:
        ClusterUnreachable: no process answered in time; the message contains what to check.
    """
    target = target or split(address)
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
            raise ClusterUnreachable(_advice(address, host, what, timeout, cause)) from cause
        if now() - reported >= REPORT_INTERVAL:
            reported = now()
            logger.info("Waiting for %s to answer (%.0f of %g s; %s)", address, waited, timeout, cause)
        sleep(INTERVAL)


def _connect(host: str, port: int, timeout: float) -> None:
    socket.create_connection((host, port), timeout).close()


def _advice(address: str, host: str, what: str, timeout: float, cause: OSError) -> str:
    if isinstance(cause, socket.gaierror):
        check = f"Check that the name {host} is right and resolves from here."
    elif isinstance(cause, ConnectionRefusedError):
        check = f"The host answers but no process listens on that port: check the port, and that the {what} runs."
    else:
        check = f"Check that the {what} runs, and that no firewall or network policy blocks the connection."
    return f"No process answered at {address} within {timeout:g} s ({cause}). {check}"
