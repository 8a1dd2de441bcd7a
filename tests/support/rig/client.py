"""The rig's own connection to the API server: plain dictionaries, one connection per thread, and watches."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from tools.cluster.onenode.pki import Pair

Body = dict[str, Any]

MERGE_PATCH, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
#: Watches of kinds whose spec is not needed carry metadata only.
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
METADATA_ONLY_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_TIMEOUT_SECONDS = 30.0


class ApiError(Exception):
    """The API server refused a request.

    Attributes:
        status: the HTTP status.
        body: the Kubernetes Status object.
    """

    def __init__(self, method: str, path: str, status: int, body: Body) -> None:
        super().__init__(f"{method} {path}: {status} {body.get('message', body)}")
        self.status, self.body = status, body


class Client:
    """A connection to the API server as one user.

    Args:
        server: address, ``https://HOST:PORT``.
        authority: the cluster's certificate authority.
        user: the client's certificate.

    Attributes:
        context: TLS with these credentials.
    """

    def __init__(self, server: str, authority: Pair, user: Pair) -> None:
        where = urlsplit(server)
        self._host, self._port = where.hostname or "", where.port or 443
        self.context = ssl.create_default_context(cafile=str(authority.certificate))
        self.context.load_cert_chain(user.certificate, user.key)
        self._local = threading.local()
        self._open: list[http.client.HTTPSConnection] = []

    def close(self) -> None:
        """Close the connections of all threads."""
        for connection in self._open:
            connection.close()

    def get(self, path: str) -> Body | None:
        """Return an object or a list; None when it does not exist."""
        return self._optional("GET", path)

    def create(self, path: str, body: Body) -> Body:
        """Create an object. Raises ApiError when it is refused."""
        return self.request("POST", path, body)

    def patch(self, path: str, body: Body) -> Body | None:
        """Merge-patch an object; None when it does not exist. Raises ApiError when the patch is refused."""
        return self._optional("PATCH", path, body, MERGE_PATCH)

    def replace(self, path: str, body: Body) -> Body:
        """Replace an object. Raises ApiError when it is refused."""
        return self.request("PUT", path, body)

    def delete(self, path: str, policy: str = "Background") -> None:
        """Delete an object; one that does not exist is a success."""
        self._optional("DELETE", path, {"propagationPolicy": policy})

    def is_ready(self) -> bool:
        """Whether the API server answers that it is ready."""
        try:
            return self._send("GET", "/readyz", None, "application/json", "*/*")[0] == 200
        except OSError:
            return False

    def request(
        self, method: str, path: str, body: Body | list[Body] | None = None, kind: str = "application/json"
    ) -> Body:
        """Send one request and return the answer. Raises ApiError when its status is not 2xx."""
        status, text = self._send(method, path, body, kind, "application/json")
        try:
            answer: Body = json.loads(text)
        except ValueError:
            answer = {"message": text.decode(errors="replace")}
        if status >= 300:
            raise ApiError(method, path, status, answer)
        return answer

    def listed(self, path: str, *, whole: bool) -> Body:
        """List a collection; without `whole`, metadata only."""
        accept = "application/json" if whole else METADATA_ONLY_LIST
        status, text = self._send("GET", path, None, "application/json", accept)
        answer: Body = json.loads(text)
        if status != 200:
            raise ApiError("GET", path, status, answer)
        return answer

    def watch(self, path: str, version: str, *, whole: bool) -> Iterator[Body]:
        """Yield the events of a collection after a resource version, until the API server ends the watch."""
        connection = http.client.HTTPSConnection(self._host, self._port, context=self.context)
        query = f"?watch=true&allowWatchBookmarks=true&resourceVersion={version}"
        try:
            connection.request("GET", path + query, headers={"Accept": "application/json" if whole else METADATA_ONLY})
            answer = connection.getresponse()
            if answer.status != 200:
                raise ApiError("GET", path, answer.status, json.loads(answer.read()))
            for line in answer:
                yield json.loads(line)
        finally:
            connection.close()

    def _optional(
        self, method: str, path: str, body: Body | None = None, kind: str = "application/json"
    ) -> Body | None:
        try:
            return self.request(method, path, body, kind)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def _send(
        self, method: str, path: str, body: Body | list[Body] | None, kind: str, accept: str
    ) -> tuple[int, bytes]:
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": kind, "Accept": accept}
        for last in (False, True):
            connection = self._connection()
            try:
                connection.request(method, path, data, headers)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (http.client.HTTPException, ConnectionError, ssl.SSLError):
                # The API server closed a connection that was idle.
                self._local.connection = None
                connection.close()
                if last:
                    raise
        raise AssertionError("unreachable")

    def _connection(self) -> http.client.HTTPSConnection:
        connection: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=_TIMEOUT_SECONDS, context=self.context
            )
            self._local.connection = connection
            self._open.append(connection)
        return connection
