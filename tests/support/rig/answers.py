"""Parts of HTTP messages that a proxy of the API server passes on, and its own answers."""

from __future__ import annotations

import json
from collections.abc import Mapping

from aiohttp import web

from tests.support.rig.faults import refusal

#: Headers that are for one connection.
_HOP = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}


def forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a message without those that are for one connection."""
    return {name: value for name, value in headers.items() if name.lower() not in _HOP}


def is_list(path: str) -> bool:
    """Return whether a path is that of a collection of objects."""
    parts = path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:] if parts[0] == "apis" else []
    return len(rest) == 1 or (len(rest) == 3 and rest[0] == "namespaces")


def broken(request: web.Request) -> web.Response:
    """Break the connection of a request. The returned answer is not sent."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def refused(status: int, request: web.Request) -> web.Response:
    """Return the API server's answer that refuses a request with a status."""
    headers = {"Retry-After": "1"} if status == 429 else {}
    text = json.dumps(refusal(status, request.method, request.path))
    return web.Response(status=status, headers=headers, text=text, content_type="application/json")
