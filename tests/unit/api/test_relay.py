"""A connection goes on where it was, over however many paths."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import random
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from flowcluster_api.relay import ANSWER, ENV_KEYS, HELLO, MARK, Connection, Relay, target
from flowcluster_operator.new_credentials import new_credentials

MEGABYTES = 24
Server = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def send_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(bytes(3_000_000))
    writer.close()


class Rig:
    """A server behind a relay, and a near end whose path the test can break."""

    def __init__(self, server: Server, tls: ssl.SSLContext | None = None) -> None:
        self._server, self._tls = server, tls
        self.paths: list[asyncio.StreamWriter] = []
        self.near: list[Connection] = []

    async def __aenter__(self) -> Rig:
        self._stack = contextlib.AsyncExitStack()
        serve = asyncio.start_server
        server = await self._stack.enter_async_context(await serve(self._server, "127.0.0.1", 0, ssl=self._tls))
        self.target = server.sockets[0].getsockname()[1]
        self.relay = Relay(dict([await target(f"{'tls:' if self._tls else ''}{self.target}")]))
        far = await self._stack.enter_async_context(await serve(self.relay.serve, "127.0.0.1", 0))
        self._far_port = far.sockets[0].getsockname()[1]
        local = await self._stack.enter_async_context(await serve(self._accept, "127.0.0.1", 0))
        self.port = local.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        for connection in [*self.near, *self.relay._connections.values()]:
            connection.close()
        self.cut()
        await self._stack.aclose()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)

    def cut(self) -> None:
        """Break all paths."""
        while self.paths:
            self.paths.pop().transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection, identity, is_new = Connection(reader, writer), os.urandom(16), True
        self.near.append(connection)
        while not connection.over.is_set():
            with contextlib.suppress(OSError, EOFError):
                there, back = await asyncio.open_connection("127.0.0.1", self._far_port)
                self.paths.append(back)
                back.write(HELLO.pack(MARK, identity, self.target, is_new, connection.received))
                known, confirmed = ANSWER.unpack(await there.readexactly(ANSWER.size))
                if not known:
                    connection.close()
                    return
                is_new = False
                await connection.carry(there, back, confirmed)


def with_rig(test: Callable[[Rig], Awaitable[None]], server: Server = echo, tls: ssl.SSLContext | None = None) -> None:
    async def run() -> None:
        async with Rig(server, tls) as rig, asyncio.timeout(60):
            await test(rig)

    asyncio.run(run())


def test_bytes_are_not_lost_or_repeated_when_paths_break() -> None:
    """A path can break any number of times, at any byte."""

    async def test(rig: Rig) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        sent = random.Random(1).randbytes(MEGABYTES * 2**20)
        cuts = 0

        async def send() -> None:
            for start in range(0, len(sent), 70_001):
                writer.write(sent[start : start + 70_001])
                await writer.drain()

        sending = asyncio.create_task(send())
        came = bytearray()
        while len(came) < len(sent):
            came += await reader.read(2**18)
            if len(came) > (cuts + 1) * 1_300_000:
                cuts += 1
                rig.cut()
        await sending
        assert cuts > 10
        assert bytes(came) == sent
        writer.close()

    with_rig(test)


def test_relay_closes_the_server_connection_when_the_client_closes_its_own() -> None:

    async def test(rig: Rig) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        (far,) = rig.relay._connections.values()
        writer.close()
        await far.over.wait()
        await rig.near[0].over.wait()

    with_rig(test)


def test_last_bytes_of_a_server_arrive_before_the_end_of_the_stream() -> None:
    """Also when the path breaks in between."""

    async def test(rig: Rig) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        came = len(await reader.readexactly(100_000))
        rig.cut()
        came += len(await reader.read())
        assert came == 3_000_000
        writer.close()

    with_rig(test, send_and_close)


def test_relay_refuses_a_port_that_is_not_a_target() -> None:
    """It connects only to the cluster's own ports."""

    async def test(rig: Rig) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", rig._far_port)
        back.write(HELLO.pack(MARK, os.urandom(16), 22, True, 0))
        assert await there.read() == b""
        back.close()

    with_rig(test)


def test_far_end_presents_the_certificate_of_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of the relay needs no certificate of its own for a server that requires one."""
    for name, content in new_credentials("run").items():
        (tmp_path / name).write_bytes(base64.b64decode(content))
    monkeypatch.setenv(ENV_KEYS, str(tmp_path))
    wants_to_see = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "ca.crt"))
    wants_to_see.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    wants_to_see.verify_mode = ssl.CERT_REQUIRED

    async def test(rig: Rig) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        sent = random.Random(2).randbytes(2**20)
        writer.write(sent[:1000])
        assert await reader.readexactly(1000) == sent[:1000]
        rig.cut()
        writer.write(sent[1000:])
        assert await reader.readexactly(len(sent) - 1000) == sent[1000:]
        writer.close()

    with_rig(test, tls=wants_to_see)
