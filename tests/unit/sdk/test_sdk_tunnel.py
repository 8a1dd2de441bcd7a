"""The end of a tunnel: connections to the API server end with it, whatever they are doing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest

client = pytest.importorskip("kubernetes.client")
pytest.importorskip("aiohttp")

from aiohttp import web  # noqa: E402

from flowcluster.agent.tunnel import Tunnel  # noqa: E402
from flowcluster.kube.access import Access  # noqa: E402
from flowcluster_api.relay import ANSWER  # noqa: E402

#: Where the relay in the pod stops answering: before its end of the connection accepts, before it confirms the stream,
#: and afterwards.
MOMENTS = ("handshake", "greeting", "stream")


class ApiServer:
    """An API server whose port-forwards lead to a relay that stops at a moment.

    Attributes:
        moment: one of `MOMENTS`; empty to answer all.
        is_reached: set once a port-forward is at that moment.
        port: the server's port.
    """

    def __init__(self) -> None:
        self.moment = ""
        self.is_reached = asyncio.Event()
        self._runner = web.ServerRunner(web.Server(self._forward), shutdown_timeout=0.1)
        self.port = 0

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator[ApiServer]:
        """Serve for the time of the block."""
        server = cls()
        await server._runner.setup()
        site = web.TCPSite(server._runner, "127.0.0.1", 0)
        await site.start()
        ((_, server.port),) = server._runner.addresses
        try:
            yield server
        finally:
            await server._runner.cleanup()

    def connections(self) -> int:
        """Return the number of sockets of clients in this process, by the operating system."""
        found = psutil.Process().net_connections("tcp")
        return sum(bool(one.raddr) and one.raddr.port == self.port for one in found)

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        is_greeted = False
        await self._stop_at("handshake")
        socket = web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
        await socket.prepare(request)
        await socket.send_bytes(b"\0\0\0")  # the data channel, and the number of the port
        async for _ in socket:
            if not is_greeted:
                await self._stop_at("greeting")
                await socket.send_bytes(b"\0" + ANSWER.pack(True, 0))
                is_greeted = True
                if self.moment == "stream":
                    self.is_reached.set()
        return socket

    async def _stop_at(self, moment: str) -> None:
        if self.moment == moment:
            self.is_reached.set()
            await asyncio.Event().wait()


async def _end_at(moment: str) -> int:
    """Close a tunnel whose only connection is at a moment. Return how many connections to the API server remain."""

    async def before_end(is_serving: bool) -> None:
        pass

    async with ApiServer.start() as server:
        settings = client.Configuration()
        settings.host = f"http://127.0.0.1:{server.port}"
        tunnel = Tunnel(Access(client.ApiClient(settings), "team", is_inside=False), "pod", before_end)
        (port,) = (await tunnel.open({80: 0})).values()
        server.moment = moment
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(10):
            await server.is_reached.wait()

        await tunnel.close()

        writer.close()
        try:
            async with asyncio.timeout(2):
                while server.connections():  # noqa: ASYNC110 - the server sends no events
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pass
        return server.connections()


@pytest.mark.parametrize("moment", MOMENTS)
def test_tunnel_leaves_no_connection_when_it_is_closed(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    assert asyncio.run(_end_at(moment)) == 0
