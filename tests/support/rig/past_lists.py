"""Listings from the past, which a proxy serves to an operator that was started again."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

#: Seconds from a new operator's first request in which listings are served from the past.
_STALE_SECONDS = 4.0

#: Sends a GET request with a path and headers, and returns the status, the headers and the body of the answer.
Fetch = Callable[[str, dict[str, str]], Awaitable[tuple[int, dict[str, str], bytes]]]


class PastLists:
    """The listings of one operator.

    Attributes:
        end: time of the monotonic clock until which kept listings are served.
    """

    def __init__(self) -> None:
        self.end = 0.0
        self._seen: dict[str, dict[str, str]] = {}
        self._kept: dict[str, tuple[bytes, dict[str, str]]] = {}

    def see(self, path: str, headers: dict[str, str]) -> None:
        """Record a listing that the operator requests: its path with query, and its headers."""
        self._seen[path] = headers

    async def keep(self, fetch: Fetch) -> None:
        """Keep what the operator lists, all of one version: listings of several moments contradict each other."""
        version = ""
        for path, headers in list(self._seen.items()):
            exact = f"resourceVersion={version}&resourceVersionMatch=Exact" if version else ""
            address = f"{path}{'&' if '?' in path else '?'}{exact}" if exact else path
            status, answered, text = await fetch(address, headers)
            if status == 200:
                version = version or json.loads(text)["metadata"]["resourceVersion"]
                self._kept[path] = text, answered

    def serve(self) -> None:
        """Serve the kept listings, if there are any, for some seconds."""
        self.end = time.monotonic() + (_STALE_SECONDS if self._kept else 0.0)

    def forget(self) -> None:
        """Forget the kept listings."""
        self.end = 0.0
        self._kept.clear()

    def answer(self, path: str) -> web.Response | None:
        """Return the kept listing of a path with query, or None."""
        if time.monotonic() > self.end:
            return None
        text, headers = self._kept.get(path, (b"", {}))
        return web.Response(body=text, headers=headers) if text else None
