"""A proxy of the API server that prints a client's requests, and can kill the client at one of its writes.

Run as ``python -m tests.support.counting_proxy KUBECONFIG PORT PIDFILE N``: after write number N was
carried out by the API server, and before its answer is passed on, the process whose pid is in PIDFILE is
killed with SIGKILL. N = 0 kills no process. Every request is printed as one line: method, path, HTTP status.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import signal
import sys

import aiohttp
import kopf
from aiohttp import web

_WRITES = {"POST", "PUT", "PATCH", "DELETE"}
_HOP = {"host", "content-length", "transfer-encoding", "connection"}


class Proxy:
    """Passes requests on with the kubeconfig's own credentials."""

    def __init__(self, info: kopf.ConnectionInfo, victim: pathlib.Path, fatal: int) -> None:
        self._info, self._victim, self._fatal = info, victim, fatal
        self._count = 0
        self._session: aiohttp.ClientSession | None = None

    async def open(self, _: web.Application) -> None:
        """Connect to the API server."""
        connector = aiohttp.TCPConnector(ssl=self._info.as_ssl_context(), limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)

    async def close(self, _: web.Application) -> None:
        """Disconnect."""
        assert self._session is not None
        await self._session.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Pass one request on, and stream its answer: a watch never ends."""
        assert self._session is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        headers |= self._info.as_http_headers()
        url = self._info.server.rstrip("/") + request.raw_path
        body = await request.read() or None  # an empty body would be given a content type
        async with self._session.request(request.method, url, headers=headers, data=body) as upstream:
            sys.stdout.write(f"{request.method} {request.path} {upstream.status}\n")
            sys.stdout.flush()
            if request.method in _WRITES:
                self._written()
            kept = {name: value for name, value in upstream.headers.items() if name.lower() not in _HOP}
            response = web.StreamResponse(status=upstream.status, headers=kept)
            try:
                await response.prepare(request)
                async for chunk in upstream.content.iter_any():
                    await response.write(chunk)
            except ConnectionResetError:
                pass  # the client was killed on purpose
            return response

    def _written(self) -> None:
        self._count += 1
        if self._count == self._fatal:
            os.kill(int(self._victim.read_text()), signal.SIGKILL)


async def main(kubeconfig: str, port: str, victim: str, fatal: str) -> None:
    """Serve until ended."""
    os.environ["KUBECONFIG"] = kubeconfig
    info = kopf.login_with_kubeconfig(settings=kopf.OperatorSettings())
    assert info is not None
    proxy = Proxy(info, pathlib.Path(victim), int(fatal))
    app = web.Application(client_max_size=16 * 2**20)
    app.on_startup.append(proxy.open)
    app.on_cleanup.append(proxy.close)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(port)).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
