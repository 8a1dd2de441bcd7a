"""Flows that try to use the cluster of another run."""

import os
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from flowcluster import flow


def with_credentials(address: str, folder: str) -> Any:
    from distributed import Client, Security

    ca, cert, key = (f"{folder}/{name}" for name in ("ca.crt", "tls.crt", "tls.key"))
    keys = Security(tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key, require_encryption=True)
    with Client(address, security=keys, timeout=5) as client:
        return client.scheduler_info()


def plainly(address: str) -> Any:
    from distributed import Client

    with Client(address.replace("tls:", "tcp:"), timeout=5) as client:
        return client.scheduler_info()


def shaking_hands(address: str, folder: str | None) -> bytes:
    host, port = address.removeprefix("tls://").split(":")
    trusting = ssl._create_unverified_context()
    if folder:
        trusting.load_cert_chain(f"{folder}/tls.crt", f"{folder}/tls.key")
    with socket.create_connection((host, int(port)), 5) as plain, trusting.wrap_socket(plain) as stream:
        stream.settimeout(5)
        return stream.recv(1)


def end_of(attempt: Callable[..., Any], *args: str | None) -> str:
    try:
        return f"let in: {attempt(*args)}"
    except (OSError, ssl.SSLError) as error:
        return f"refused: {error}"


@flow
def of_dask(address: str) -> dict[str, str]:
    """Return the result of each attempt to use the Dask cluster whose scheduler is at this address."""
    own = os.environ["FLOWCLUSTER_KEYS"]
    return {
        "without TLS": end_of(plainly, address),
        "with another run's keys": end_of(with_credentials, address, own),
        "with another run's certificate, without verification": end_of(shaking_hands, address, own),
        "without a certificate, without verification": end_of(shaking_hands, address, None),
    }


def status_of(url: str, data: bytes | None = None) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@flow
def of_ray(head: str) -> dict[str, int | str]:
    """Return the result of each attempt to use the Ray cluster with this head."""
    import ray

    try:
        ray.init(f"ray://{head}:10001")
        client = "let in"
    except ConnectionError as error:
        client = f"refused: {error}"
    return {
        "job": status_of(f"http://{head}:8265/api/jobs/", b'{"entrypoint": "true"}'),
        "nodes": status_of(f"http://{head}:8265/nodes"),
        "client": client,
    }
