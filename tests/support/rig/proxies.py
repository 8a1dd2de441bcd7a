"""Proxies between operators and the API server: they number an operator's writes and inject one fault."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp import web

from tests.support.rig.answers import broken, forwarded, is_list, refused
from tests.support.rig.faults import UNDISTURBED, Fault, FaultKind, target_of
from tests.support.rig.owners import OwnerBook
from tests.support.rig.past_lists import PastLists
from tests.support.rig.process import free_port
from tests.support.rig.rights import is_forbidden
from tests.support.rig.writes import WRITES, Write, about_of

_LARGEST_BODY = 16 * 2**20


class FaultProxy:
    """One operator's connection to the API server.

    Attributes:
        url: address of the API server for the operator.
        writes: its mutating requests since `reset`, in the order of their answers.
        hit: the write at which the fault happened; None before.
        forbidden: the requests since `reset` that the operator has no right to.
        kill: ends the operator with SIGKILL; set by the owner of the process.
    """

    def __init__(self, server: str, context: ssl.SSLContext | None, loop: asyncio.AbstractEventLoop) -> None:
        self._server, self._context, self._loop = server.rstrip("/"), context, loop
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.writes: list[Write] = []
        self.requests = 0
        self.hit: Write | None = None
        self.forbidden: list[str] = []
        self.kill: Callable[[], None] = lambda: None
        self._fault, self._subject = UNDISTURBED, ""
        self._at: Callable[[Write], bool] | None = None
        self._count = self._deletes = self._at_target = 0
        self._past, self._is_new = PastLists(), False
        self._processes = 0
        self._owners = OwnerBook()
        self._watches: dict[asyncio.Task[Any], str] = {}
        self._needed_watches = 1
        self._busy_at = time.monotonic()
        self._no_watches_until = 0.0
        self._frozen_until, self._thawed = 0.0, asyncio.Event()

    def reset(self) -> None:
        """Forget the writes so far and the fault, which ends."""
        self.arm(UNDISTURBED, "")
        self.writes, self.hit, self.forbidden = [], None, []
        self._no_watches_until = self._frozen_until = 0.0
        self._past.forget()
        self._loop.call_soon_threadsafe(self._thawed.set)

    def is_quiet(self, seconds: float) -> bool:
        """Return whether the fault is over, all watches are open, and the operator has not written for some time."""
        return not self.unrest(seconds)

    def unrest(self, seconds: float) -> str:
        """Return why the operator is not quiet, or an empty text."""
        if self._is_new:
            return "the operator has made no request since it was started"
        if (watched := self._watched()) < self._needed_watches:
            return f"the operator watches {watched} of {self._needed_watches} kinds"
        over = max(self._busy_at, self._no_watches_until, self._frozen_until, self._past.end)
        rest = time.monotonic() - over
        return "" if rest >= seconds else f"the last write, watch or fault ended {rest:.1f} s ago"

    def arm(self, fault: Fault, subject: str, at: Callable[[Write], bool] | None = None) -> None:
        """Start to number the writes whose path or body names `subject`, and inject the fault at one of them.

        Args:
            fault: what happens.
            subject: a name.
            at: whether the fault happens at a write; called with each numbered write until it does. None means the
                write that the fault itself names.
        """
        self._fault, self._subject, self._at = fault, subject, at
        self._count = self._deletes = self._at_target = 0
        self._needed_watches = max(self._needed_watches, self._watched())

    def _watched(self) -> int:
        """Return how many collections are watched; a watch whose client left lasts here until its next event."""
        return len(set(self._watches.values()))

    def count(self) -> int:
        """Return the number of writes for the run under test."""
        return self._count

    def numbered(self) -> list[Write]:
        """Return the writes for the run under test."""
        return sorted((write for write in list(self.writes) if write.number), key=lambda write: write.number)

    def operator_started(self) -> None:
        """Note that a new operator process starts: listings from the past are served to it for a while."""
        self._is_new = True

    def close(self) -> None:
        """Close the port and all connections."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(30)

    async def open(self) -> None:
        """Accept connections."""
        connector = aiohttp.TCPConnector(ssl=self._context or True, limit=0)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            skip_auto_headers=["Accept-Encoding"],  # answers are kept and passed on as they are
        )
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def _close(self) -> None:
        for task in list(self._watches):
            task.cancel()
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request, await request.read())
        except (ConnectionResetError, aiohttp.ClientError):
            return broken(request)  # the operator or the API server has closed the connection

    async def _answer(self, request: web.Request, body: bytes) -> web.StreamResponse:
        self.requests += 1
        if self._is_new:
            self._past.serve()
            self._is_new = False
            self._processes += 1
            for task in list(self._watches):  # of the operator that was killed
                task.cancel()
            self._watches.clear()
        if request.method in WRITES:
            return await self._write(request, body)
        if request.query.get("watch"):
            return await self._watch(request)
        if past := self._past.answer(request.path_qs):
            return past
        if is_list(request.path):
            self._past.see(request.path_qs, forwarded(request.headers))
        return await self._pass_on(request, body)

    async def _write(self, request: web.Request, body: bytes) -> web.StreamResponse:
        number = self._number(request, body)
        fault = self._fault
        is_hit = number > 0 and self._is_hit(request, body, number)
        if is_hit:
            await self._before(fault, request)
            if fault.kind is FaultKind.KILL_BEFORE:
                self._record(number, request, body, 0, is_hit)
                self.kill()
                return broken(request)
            if fault.kind is FaultKind.REFUSE:
                self._record(number, request, body, fault.status, is_hit)
                return refused(fault.status, request)
        status, headers, text = await self._ask(request, body)
        if is_forbidden(status, text):
            self.forbidden.append(f"{request.method} {request.path}")
        is_lost = is_hit and fault.kind in (
            FaultKind.KILL_AFTER, FaultKind.DROP_ANSWER, FaultKind.STALE_LISTS, FaultKind.AWAY,
        )  # fmt: skip
        self._record(number, request, body, 0 if is_lost else status, is_hit)
        if is_lost:
            if fault.kind is not FaultKind.DROP_ANSWER:
                self.kill()
            return broken(request)
        return web.Response(status=status, headers=headers, body=text)

    def _number(self, request: web.Request, body: bytes) -> int:
        """Return the write's number, or 0 if it is not for the run under test."""
        if not self._subject or not (self._subject in request.path or self._subject.encode() in body):
            return 0
        self._count += 1
        self._deletes += request.method == "DELETE"
        self._at_target += self._fault.is_at(_target(request, body))
        return self._count

    def _is_hit(self, request: web.Request, body: bytes, number: int) -> bool:
        if self._fault.kind is FaultKind.NONE or self.hit is not None:
            return False
        if self._at is not None:
            return self._at(self._noted(number, request, body, 0))
        if self._fault.target:
            return self._fault.is_at(_target(request, body)) and self._at_target == self._fault.write
        if self._fault.kind is FaultKind.STALE_LISTS:
            return request.method == "DELETE" and self._deletes == self._fault.write
        return number == self._fault.write

    def _record(self, number: int, request: web.Request, body: bytes, status: int, is_hit: bool) -> None:
        write = self._noted(number, request, body, status)
        self._busy_at = write.at
        self.writes.append(write)
        if is_hit:
            self.hit = write

    def _noted(self, number: int, request: web.Request, body: bytes, status: int) -> Write:
        method, path = request.method, request.path
        about, owner = about_of(method, path, body), self._owners.owner_of(path, body)
        return Write(number, method, path, status, time.monotonic(), about, self._processes, owner)

    async def _before(self, fault: Fault, request: web.Request) -> None:
        now = time.monotonic()
        if fault.kind is FaultKind.CUT_WATCHES:
            self._no_watches_until = now + fault.seconds
            for task in list(self._watches):
                task.cancel()
        elif fault.kind is FaultKind.FREEZE_WATCHES:
            self._frozen_until = now + fault.seconds
            self._thawed.clear()
        elif fault.kind is FaultKind.STALE_LISTS:
            await self._past.keep(lambda path, headers: self._fetch("GET", path, headers, None))

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        if time.monotonic() < self._no_watches_until:
            return refused(500, request)
        task = asyncio.ensure_future(self._pass_on(request, b""))
        self._watches[task] = request.path
        self._busy_at = time.monotonic()
        try:
            return await task
        except asyncio.CancelledError:
            if task.cancelled():
                return broken(request)
            raise
        finally:
            task.cancel()
            self._watches.pop(task, None)

    async def _pass_on(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Forward a request and stream its answer: a watch ends when the API server or the operator ends it."""
        url = self._server + request.path_qs
        async with self._session.request(
            request.method, url, headers=forwarded(request.headers), data=body or None
        ) as upstream:
            kept = forwarded(upstream.headers)
            if upstream.status == 403:
                self.forbidden.append(f"{request.method} {request.path_qs}")
            response = web.StreamResponse(status=upstream.status, headers=kept)
            await response.prepare(request)
            async for chunk in upstream.content.iter_any():
                frozen = self._frozen_until - time.monotonic()
                if frozen > 0 and request.query.get("watch"):
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._thawed.wait(), frozen)
                await response.write(chunk)
            return response

    async def _ask(self, request: web.Request, body: bytes) -> tuple[int, dict[str, str], bytes]:
        return await self._fetch(request.method, request.path_qs, forwarded(request.headers), body)

    async def _fetch(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[int, dict[str, str], bytes]:
        async with self._session.request(method, self._server + path, headers=headers, data=body or None) as upstream:
            kept = forwarded(upstream.headers)
            return upstream.status, kept, await upstream.read()


def _target(request: web.Request, body: bytes) -> str:
    return target_of(request.method, request.path, about_of(request.method, request.path, body))
