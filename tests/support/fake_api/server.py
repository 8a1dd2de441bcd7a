"""The HTTP side: paths, verbs and answers."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
from typing import Any

from aiohttp import web

from flowcluster_operator.new_credentials import new_credentials
from flowcluster_operator.resources import (
    BY_KIND,
    CONFIG_MAP,
    EVENT,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    Object,
    Resource,
)
from tests.support.fake_api.failures import REASONS, Failure
from tests.support.fake_api.faults import Answer, Drop, Fault, Hold, Injection, StaleList
from tests.support.fake_api.objects import Objects
from tests.support.fake_api.patches import label_selected

#: Kinds whose DELETE answers with the object also when it is gone; the others answer with a `Status`.
_RETURNED = (SERVICE, SERVICE_ACCOUNT)
_ALWAYS = 10**9
#: Kind and version of objects of which only metadata was requested.
_METADATA = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}


@dataclasses.dataclass(frozen=True)
class Request:
    """A request that arrived. `name` is empty for a collection, `subresource` for the object itself."""

    method: str
    resource: Resource
    namespace: str | None
    name: str
    subresource: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any

    def __str__(self) -> str:
        return " ".join(filter(None, (self.method, self.resource.kind, self.name, self.subresource)))


class FakeApi:
    """An API server on a port of the loopback interface.

    Attributes:
        objects: what it holds. Tests read and change it directly, without requests.
        requests: all requests so far, also those that failed.
        installed: the kinds that it knows; all that the operator uses.
        token: the bearer token that it accepts; None accepts all.
    """

    def __init__(self) -> None:
        self.objects = Objects()
        self.requests: list[Request] = []
        self.installed: set[Resource] = {*BY_KIND.values(), CONFIG_MAP, EVENT, SECRET}
        self.token: str | None = None
        self._injections: list[Injection] = []
        self._runner: web.AppRunner | None = None
        self._url = ""
        self._ends, self._changed = 0, asyncio.Event()
        self.objects.on_change = self._notify

    async def start(self) -> None:
        """Listen."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self._url = f"http://{host}:{port}"

    async def stop(self) -> None:
        """Release the requests that are held, and close."""
        for injection in self._injections:
            if isinstance(injection.fault, Hold):
                injection.fault.released.set()
        self.end_watches()
        assert self._runner is not None
        await self._runner.cleanup()

    def end_watches(self) -> None:
        """End all watches that are open, as an API server does from time to time."""
        self._ends += 1
        self._notify()

    def _notify(self) -> None:
        """Let all watches check for changes."""
        self._changed.set()
        self._changed = asyncio.Event()

    def inject(
        self,
        fault: Fault,
        methods: str = "",
        resource: Resource | None = None,
        *,
        skip: int = 0,
        times: int | None = 1,
    ) -> None:
        """Let `fault` happen to the next matching requests.

        Args:
            fault: what happens.
            methods: HTTP methods, separated by spaces; all when empty.
            resource: the kind; all when None.
            skip: matching requests that are served before.
            times: matching requests that the fault happens to; None means all.
        """
        self._injections.append(
            Injection(fault, tuple(methods.split()), resource, skip, _ALWAYS if times is None else times)
        )

    def heal(self) -> None:
        """End all faults."""
        self._injections.clear()

    def seen(self, method: str = "", resource: Resource | None = None) -> list[str]:
        """Return the requests so far, in words, of one method or kind where given."""
        return [
            str(request)
            for request in self.requests
            if method in ("", request.method) and resource in (None, request.resource)
        ]

    def kubeconfig(self, token: str | None = None) -> str:
        """Return a kubeconfig that leads here."""
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "fake", "cluster": {"server": self._url, "certificate-authority-data": _ca()}}],
                "users": [{"name": "fake", "user": {"token": token} if token else {}}],
                "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
                "current-context": "fake",
            }
        )

    @property
    def url(self) -> str:
        """The address at which it listens."""
        return self._url

    async def _serve(self, raw: web.Request) -> web.StreamResponse:
        try:
            request = await self._request(raw)
        except Failure as failure:
            return _failed(failure)
        self.requests.append(request)
        faults = [
            injection.fault for injection in self._injections if injection.happens_to(request.method, request.resource)
        ]
        fault = faults[0] if faults else None
        if isinstance(fault, Hold):
            fault.arrived.set()
            await fault.released.wait()
        if isinstance(fault, Answer):
            return _given(fault)
        if isinstance(fault, Drop) and not fault.after_write:
            return _broken(raw)
        if request.query.get("watch"):
            return await self._watch(raw, request)
        try:
            answer = self._answer(request, fault.snapshot if isinstance(fault, StaleList) else self.objects)
        except Failure as failure:
            return _failed(failure)
        finally:
            self.objects.collect_garbage()
        return _broken(raw) if isinstance(fault, Drop) else answer

    async def _watch(self, raw: web.Request, request: Request) -> web.StreamResponse:
        """Send changes until the watch ends."""
        ends, version = self._ends, int(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(raw)
        while self._ends == ends:
            changed = self._changed
            for when, what, obj in self.objects.changes(request.resource, version):
                version = when
                if "as=PartialObjectMetadata" in request.headers.get("Accept", ""):
                    obj = _METADATA | {"metadata": obj["metadata"]}
                if label_selected(obj, request.query.get("labelSelector", "")):
                    await response.write(json.dumps({"type": what, "object": obj}).encode() + b"\n")
            await changed.wait()
        return response

    async def _request(self, raw: web.Request) -> Request:
        parts = raw.path.strip("/").split("/")
        group, rest = ("", parts[1:]) if parts[0] == "api" else (parts[1], parts[2:])
        namespace = None
        if rest[1] == "namespaces":
            namespace, rest = rest[2], [rest[0], *rest[3:]]
        version, plural, name, subresource = [*rest, "", ""][:4]
        known = {(kind.group, kind.version, kind.plural): kind for kind in self.installed}
        if (resource := known.get((group, version, plural))) is None:
            raise Failure(404, "the server could not find the requested resource")
        text = await raw.text()
        return Request(
            raw.method, resource, namespace, name, subresource, dict(raw.query), dict(raw.headers),
            json.loads(text) if text else None,
        )  # fmt: skip

    def _answer(self, request: Request, objects: Objects) -> web.Response:
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            raise Failure(401, "Unauthorized")
        resource, namespace, name = request.resource, request.namespace or "", request.name
        match request.method, bool(name), request.subresource:
            case "GET", True, "":
                return _json(objects.get(resource, namespace, name))
            case "GET", False, "":
                return _json(_listed(request, objects))
            case "POST", False, "":
                return _json(objects.create(resource, namespace, request.body), 201)
            case "PUT", True, "status":
                return _json(objects.replace_status(resource, namespace, name, request.body))
            case "PATCH", True, "":
                return _json(_patched(request, objects))
            case "DELETE", True, "":
                before = objects.get(resource, namespace, name)
                left = objects.delete(resource, namespace, name, request.body)
                return _json(left or (before if resource in _RETURNED else _status(200, "", "Success")))
        raise Failure(405, "the server does not allow this method on the requested resource")


@functools.cache
def _ca() -> str:
    """Return a certificate: a client that has none loads those of the system, which takes 60 ms."""
    return new_credentials("fake")["ca.crt"]


def _listed(request: Request, objects: Objects) -> Object:
    query = request.query
    items = objects.select(
        request.resource, request.namespace, query.get("labelSelector", ""), query.get("fieldSelector", "")
    )
    meta: Object = {"resourceVersion": str(objects.version)}
    items = items[int(query.get("continue", 0)) :]
    if (limit := int(query.get("limit", 0))) and len(items) > limit:
        more = int(query.get("continue", 0)) + limit
        meta |= {"continue": str(more), "remainingItemCount": len(items) - limit}
        items = items[:limit]
    if "." not in request.resource.group or request.resource.group.endswith(".k8s.io"):
        for item in items:  # items of built-in kinds come without
            del item["kind"], item["apiVersion"]
    if "as=PartialObjectMetadataList" in request.headers.get("Accept", ""):
        partial = [_METADATA | {"metadata": item["metadata"]} for item in items]
        return {"kind": "PartialObjectMetadataList", "metadata": meta, "items": partial or None}
    return {"kind": f"{request.resource.kind}List", "metadata": meta, "items": items}


def _patched(request: Request, objects: Objects) -> Object:
    resource, namespace, name = request.resource, request.namespace or "", request.name
    match request.headers.get("Content-Type"):
        case "application/merge-patch+json":
            return objects.merge(resource, namespace, name, request.body)
        case "application/json-patch+json":
            return objects.step(resource, namespace, name, request.body)
    raise Failure(415, "the body of the request was in an unknown format")


def _json(body: Object, status: int = 200) -> web.Response:
    return web.json_response(body, status=status)


def _status(code: int, message: str, status: str = "Failure", reason: str = "") -> Object:
    return {
        "apiVersion": "v1", "kind": "Status", "status": status, "message": message, "reason": reason, "code": code
    }  # fmt: skip


def _failed(failure: Failure) -> web.Response:
    return _json(_status(failure.status, str(failure), reason=failure.reason), failure.status)


def _given(fault: Answer) -> web.Response:
    body = fault.body
    if body is None:
        body = json.dumps(_status(fault.status, fault.message, reason=REASONS.get(fault.status, "")))
    headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
    return web.Response(status=fault.status, text=body, headers=headers, content_type="application/json")


def _broken(raw: web.Request) -> web.Response:
    assert isinstance(raw.transport, asyncio.Transport)
    raw.transport.abort()
    return web.Response()
