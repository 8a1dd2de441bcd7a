"""Client for one Lease, for processes that use no other object of the API server.

The official client needs 40 MiB of memory, half of a keeper's limit.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import urllib3

from flowcluster.errors import KubernetesError, NotFound
from flowcluster.kube.certificates import accept_incomplete_certificates
from flowcluster.kube.choice import TOKEN_FOLDER

Object = dict[str, Any]

#: Seconds to connect to the API server, and to wait for its answer: a request that hangs is better repeated.
_TIMEOUT = urllib3.Timeout(connect=2.0, read=3.0)
_PATH = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}"


class OneLease:
    """Reads and patches one Lease.

    Args:
        server: URL of the API server.
        namespace: of the Lease.
        name: of the Lease.
        token: file with a bearer token, which Kubernetes renews; None without one.
        authority: file with the certificates of the server's authority; None for those of the system.

    Every method raises `KubernetesError` with the message of the API server, and `NotFound` if there is no such Lease.
    """

    def __init__(
        self, server: str, namespace: str, name: str, token: Path | None = None, authority: Path | None = None
    ) -> None:
        self.name = name
        self._server = server
        self._url = server + _PATH.format(namespace=namespace, name=name)
        self._token = token
        context = None
        if server.startswith("https:"):
            context = ssl.create_default_context(cafile=authority)
            accept_incomplete_certificates(context)
        # Without retries of urllib3: the caller decides whether and when to repeat a request.
        self._pool = urllib3.PoolManager(1, retries=False, timeout=_TIMEOUT, ssl_context=context)

    @classmethod
    def from_pod(cls, namespace: str, name: str, environment: Mapping[str, str] = os.environ) -> Self:
        """Return the client for a process in a pod, with the rights of the pod's ServiceAccount."""
        host, port = environment["KUBERNETES_SERVICE_HOST"], environment["KUBERNETES_SERVICE_PORT"]
        server = f"https://{f'[{host}]' if ':' in host else host}:{port}"
        return cls(server, namespace, name, TOKEN_FOLDER / "token", TOKEN_FOLDER / "ca.crt")

    def get(self) -> Object:
        """Return the Lease."""
        return self._request("read", "GET", None)

    def patch(self, patch: Object) -> Object:
        """Merge-patch the Lease, and return it."""
        return self._request("renew", "PATCH", json.dumps(patch).encode())

    def _request(self, verb: str, method: str, body: bytes | None) -> Object:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json"
        try:
            if self._token is not None:
                headers["Authorization"] = f"Bearer {self._token.read_text().strip()}"
            answer = self._pool.request(method, self._url, body=body, headers=headers)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise KubernetesError(f"The API server at {self._server} cannot be reached: {error}") from error
        try:
            found = json.loads(answer.data)
        except ValueError:
            found = None
        if answer.status >= 300 or not isinstance(found, dict):
            message = found.get("message") if isinstance(found, dict) else None
            kind = NotFound if answer.status == 404 else KubernetesError
            raise kind(f"Kubernetes would not {verb} Lease {self.name}: {message or f'status {answer.status}'}")
        return found
