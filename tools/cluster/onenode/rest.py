"""The few requests that the tool itself sends, so that it needs no client library."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

from tools.cluster.errors import ToolError
from tools.cluster.onenode.pki import Pair

TIMEOUT_SECONDS = 5.0


class Api:
    """A Kubernetes API server, as the administrator.

    Args:
        server: its address, ``https://HOST:PORT``.

    Raises:
        ssl.SSLError, OSError: a certificate cannot be read.
    """

    def __init__(self, server: str, authority: Pair, client: Pair) -> None:
        where = urlsplit(server)
        self._host, self._port = where.hostname or "", where.port or 443
        self._context = ssl.create_default_context(cafile=str(authority.certificate))
        self._context.load_cert_chain(client.certificate, client.key)

    def ready(self) -> bool:
        """Return whether the API server reports that it is ready."""
        return self._request("GET", "/readyz")[0] == 200

    def get(self, path: str) -> dict[str, Any] | None:
        """Return an object, or None if it is absent or the server does not answer."""
        status, body = self._request("GET", path)
        if status != 200:
            return None
        found: dict[str, Any] = json.loads(body)
        return found

    def create(self, path: str, item: dict[str, Any]) -> None:
        """Create an object in the collection at ``path``, unless it exists.

        Raises:
            ToolError: it was refused.
        """
        status, body = self._request("POST", path, json.dumps(item))
        if status not in (200, 201, 409):
            raise ToolError(f"POST {path} was refused with {status}: {body.decode(errors='replace')}")

    def _request(self, verb: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        """Return status and body of an answer, or status 0 if there is none."""
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_SECONDS, context=self._context)
        headers = {"User-Agent": "flowcluster-tools", "Content-Type": "application/json"}
        try:
            connection.request(verb, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()


def answers(host: str, port: int, path: str) -> bool:
    """Return whether a plain HTTP health check answers 200."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
