"""The operator's Kubernetes client: the few verbs that it uses, on plain dictionaries.

The usual client libraries have a class for every kind, which takes more memory than this whole operator. kopf already
depends on aiohttp, so the client adds no dependency.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from flowcluster_operator.errors import ApiUnavailable, Conflict, OperatorError, Refused, api_error
from flowcluster_operator.kube_config import credentials
from flowcluster_operator.resources import Object, Resource

FIELD_MANAGER = "flowcluster"
USER_AGENT = "flowcluster-operator"
_TIMEOUT = aiohttp.ClientTimeout(total=30, connect=5)
#: Maximum connections, and seconds for which an idle one stays open for the next burst of passes: each new connection
#: costs a TLS handshake.
_CONNECTIONS, _IDLE_SECONDS = 32, 75.0
#: Seconds after which the API server ends a watch. The client ends it some seconds later, if the API server has not.
WATCH_SECONDS = 300
_WATCH_TIMEOUT = aiohttp.ClientTimeout(total=WATCH_SECONDS + 30, connect=5)
#: Objects in one page of a list. Parsing a page blocks the event loop: for some 10 ms with whole pods.
PAGE = 200
_METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1,application/json"


class Kube:
    """A connection to the API server, for one event loop. It is opened and closed as a context manager."""

    def __init__(self) -> None:
        self._info = credentials()
        self._ssl = self._info.as_ssl_context()
        self._session: aiohttp.ClientSession | None = None
        self._watching: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Kube:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._ssl, limit=_CONNECTIONS, keepalive_timeout=_IDLE_SECONDS),
            timeout=_TIMEOUT,
            headers={"User-Agent": USER_AGENT},
        )
        # Watches have a session of their own: they hold their connections, and must not wait for a free one.
        self._watching = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._ssl, limit=0),
            timeout=_WATCH_TIMEOUT,
            headers={"User-Agent": USER_AGENT},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in (self._session, self._watching):
            if session is not None:
                await session.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Read one object.

        Raises:
            NotFound: it does not exist.
        """
        return await self._request("GET", resource.path(namespace, name))

    async def list(
        self, resource: Resource, namespace: str | None = None, *, labels: str = "", fields: str = "", limit: int = 0
    ) -> Object:
        """List objects, with the resource version of the list, and the kind in each item."""
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(limit) if limit else ""}
        query = {name: value for name, value in query.items() if value}
        found = await self._request("GET", resource.path(namespace), query=query)
        for item in found["items"]:
            item.setdefault("kind", resource.kind)
        return found

    async def pages(
        self, resource: Resource, namespace: str | None, *, labels: str = "", fields: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[Object]:  # fmt: skip
        """Yield a collection in pages, all of the same resource version.

        Args:
            resource: the kind.
            namespace: None for all.
            labels: a selector; empty for all objects.
            fields: a field selector; empty for all objects.
            metadata_only: whether the API server leaves out spec and status, which costs both sides less.

        Raises:
            ApiError: with status 410 when the version is too old to go on.
        """
        accept = _METADATA.format("List") if metadata_only else ""
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(PAGE)}
        query = {name: value for name, value in query.items() if value}
        while True:
            path = resource.path(namespace)
            page = await self._request("GET", path, query=query, accept=accept)
            if "items" not in page:
                raise ApiUnavailable(f"GET {path}: the answer of the API server is not a list")
            yield {**page, "items": page["items"] or []}  # null in an empty list of metadata
            more = page["metadata"].get("continue")
            if not more:
                return
            query["continue"] = more

    async def watch(
        self, resource: Resource, namespace: str | None, *, labels: str, metadata_only: bool, version: str
    ) -> AsyncIterator[Object]:
        """Yield the changes of a collection after a resource version, until the API server ends the watch.

        Raises:
            ApiError: the watch is refused, with status 410 when the version is too old.
            ApiUnavailable: the connection broke.
        """
        assert self._watching is not None, "used outside its context"
        path = resource.path(namespace)
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
            **({"labelSelector": labels} if labels else {}),
        }
        headers = {**self._info.as_http_headers()}
        if metadata_only:
            headers["Accept"] = _METADATA.format("")
        try:
            async with self._watching.get(
                self._info.server.rstrip("/") + path, params=query, headers=headers
            ) as response:
                if response.status >= 300:
                    raise self._error("GET", path, response, await response.text())
                left = b""
                async for chunk in response.content.iter_any():
                    *lines, left = (left + chunk).split(b"\n")
                    for line in filter(None, lines):
                        yield _event(path, line)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise ApiUnavailable(f"GET {path}: {str(error) or type(error).__name__}") from error

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        """Create an object, with strict validation: otherwise the API server would drop unknown fields silently.

        Raises:
            Conflict: an object of that name exists.
            Refused: it has an unknown field.
        """
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        return await self._request("POST", resource.path(namespace), body, query)

    async def replace_status(self, resource: Resource, obj: Object) -> Object:
        """Write an object's status.

        Raises:
            Conflict: the object changed since it was read.
        """
        meta = obj["metadata"]
        path = resource.path(meta["namespace"], meta["name"], "status")
        return await self._request("PUT", path, obj, {"fieldManager": FIELD_MANAGER})

    async def patch(
        self, resource: Resource, namespace: str, name: str, uid: str, patch: Object | builtins.list[Object]
    ) -> Object:
        """Patch exactly the object of that UID: by a merge patch, or by the steps of a JSON patch.

        Raises:
            Conflict: the object has another UID, or a test step fails.
            Refused: the test steps pass, but the API server refuses the patch.
        """
        path, query = resource.path(namespace, name), {"fieldManager": FIELD_MANAGER}
        if isinstance(patch, dict):
            body = {**patch, "metadata": {**patch.get("metadata", {}), "uid": uid}}
            return await self._request("PATCH", path, body, query, "application/merge-patch+json")
        steps = [{"op": "test", "path": "/metadata/uid", "value": uid}, *patch]
        try:
            return await self._request("PATCH", path, steps, query, "application/json-patch+json")
        except Refused as error:
            # The API server answers 422 for a failed test step, and also for a veto of an admission policy.
            if error.status != 422 or _holds(await self.get(resource, namespace, name), steps):
                raise
            raise Conflict(error.status, error.reason, str(error)) from error

    async def delete(
        self, resource: Resource, namespace: str, name: str, uid: str, *, background: bool = False, forced: bool = False
    ) -> Object:
        """Delete exactly the object of that UID.

        Args:
            resource: its kind.
            namespace: its namespace.
            name: its name.
            uid: its UID.
            background: whether its dependents are deleted after it; they are deleted before it otherwise.
            forced: whether a pod is deleted without waiting for its node.

        Raises:
            Conflict: the object has another UID.
        """
        policy, grace = "Background" if background else "Foreground", {"gracePeriodSeconds": 0} if forced else {}
        options = {"propagationPolicy": policy, "preconditions": {"uid": uid}, **grace}
        return await self._request("DELETE", resource.path(namespace, name), options)

    async def _request(
        self,
        method: str,
        path: str,
        body: Object | builtins.list[Object] | None = None,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "",
    ) -> Object:
        assert self._session is not None, "used outside its context"
        headers = {**self._info.as_http_headers(), "Content-Type": content_type}
        if accept:
            headers["Accept"] = accept
        data = None if body is None else json.dumps(body)
        try:
            async with self._session.request(
                method, self._info.server.rstrip("/") + path, params=query, data=data, headers=headers
            ) as response:
                text = await response.text()
        except (TimeoutError, aiohttp.ClientError) as error:
            raise ApiUnavailable(f"{method} {path}: {str(error) or type(error).__name__}") from error
        if response.status < 300:
            answer = _object(text)
            if answer is None:
                raise ApiUnavailable(f"{method} {path}: the answer is not a Kubernetes object: {text[:200]!r}")
            return answer
        raise self._error(method, path, response, text)

    def _error(self, method: str, path: str, response: aiohttp.ClientResponse, text: str) -> OperatorError:
        """Return the exception for an answer with an error."""
        if response.status == 401:
            self._info = credentials()  # the kubelet replaces a projected token while the operator runs
            return ApiUnavailable(f"{method} {path}: the API server did not accept the operator's credentials")
        if response.status == 429 or response.status >= 500:
            wait = response.headers.get("Retry-After", "")
            _, message = _explanation(text)
            what = f"{response.status}: {message}" if message else str(response.status)
            return ApiUnavailable(f"{method} {path}: {what}", float(wait) if wait.isdigit() else None)
        reason, message = _explanation(text)
        return api_error(response.status, reason, message)


def _event(path: str, line: bytes) -> Object:
    event = _object(line)
    if event is None or not isinstance(event.get("object"), dict):
        raise ApiUnavailable(f"GET {path}: the watch sent something that is not an event: {line[:200]!r}")
    return event


def _holds(obj: Object, steps: builtins.list[Object]) -> bool:
    """Return whether an object passes all test steps of a JSON patch."""
    for step in steps:
        if step["op"] != "test":
            continue
        found: Any = obj
        for part in step["path"].strip("/").split("/"):
            try:
                found = found[int(part)] if isinstance(found, builtins.list) else found[part]
            except (KeyError, IndexError, ValueError, TypeError):
                return False
        if found != step["value"]:
            return False
    return True


def _explanation(text: str) -> tuple[str, str]:
    status = _object(text)
    if status is None:  # from a proxy in front of the API server
        return "", text[:500]
    return str(status.get("reason", "")), str(status.get("message", ""))


def _object(text: str | bytes) -> Object | None:
    try:
        body: Any = json.loads(text)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
