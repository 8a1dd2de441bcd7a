"""A TCP connection that outlives the path it takes.

Outside of Kubernetes, a driver reaches its cluster by a port-forward, whose path leads through the API server: when
that restarts, the path breaks, and a Dask scheduler forgets all that a client had there as soon as the client's
connection ends. So both ends keep what the other has not confirmed, and go on over a new path where the last one
broke off. The near end is in the driver's agent; the far end is this file, run as a program beside the scheduler or
head: ``python -c SOURCE PORT TARGET [TARGET ...]``. It needs nothing but the standard library.

A target written ``tls:PORT`` wants to see a certificate. The far end shows the run's own: whoever reaches it was let
through by the API server. Over one written ``file:PORT:PATH`` comes a line with the version of this Python, which is
the cluster's, and then that file.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import ssl
import struct
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

#: What the near end says first on a new path: a mark, the connection's identity, the port that it leads to, whether
#: it is new, and the bytes that have arrived at the near end.
HELLO = struct.Struct("!4s16sH?Q")
MARK = b"fcr1"
#: The answer: whether the far end knows the connection, and the bytes that have arrived there.
ANSWER = struct.Struct("!?Q")
#: After that both send frames: what it is and its length; then a `POSITION`, or data.
FRAME, POSITION = struct.Struct("!BI"), struct.Struct("!Q")
DATA, CONFIRM, END, PING = range(4)
#: Where the far end listens in its pod.
PORT = 8790
#: What a target begins with that speaks TLS, or that is a file.
TLS_MARK, FILE_MARK = "tls:", "file:"
#: What names the folder with the run's keys (`driver.ENV_KEYS`).
ENV_KEYS = "FLOWCLUSTER_KEYS"

#: Bytes of a frame at most, and bytes that one end sends ahead of what the other has confirmed.
CHUNK, WINDOW = 2**18, 2**23
#: Seconds between signs of life on a quiet path, and seconds without any after which a path counts as broken.
PING_SECONDS, SILENT_SECONDS = 5.0, 20.0
#: Seconds for which the far end keeps a connection that has no path.
KEPT_SECONDS = 900.0


class Reader(Protocol):
    """What is read of an `asyncio.StreamReader`."""

    async def readexactly(self, n: int) -> bytes:
        """Exactly `n` bytes. Raises `EOFError` or `OSError` when they do not come."""


class Writer(Protocol):
    """What is used of an `asyncio.StreamWriter`."""

    def write(self, data: bytes) -> None:
        """Send later."""

    async def drain(self) -> None:
        """Wait until more may be written."""

    def close(self) -> None:
        """Send what was written, and no more."""


class Connection:
    """One end of a connection: a TCP stream here, carried over one path after the other.

    Attributes:
        received: bytes that have arrived from the other end.
        over: set once either end has closed its stream.

    `before_end` is awaited when the other end has closed its stream, before the one here is.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        before_end: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.received = 0
        self._before_end = before_end
        self.over = asyncio.Event()
        self._reader, self._writer = reader, writer
        self._kept: deque[bytes] = deque()
        self._unsent: deque[bytes] = deque()
        self._confirmed = self._read = 0
        self._ended = False
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._reading = asyncio.create_task(self._keep_what_comes())

    async def carry(self, reader: Reader, writer: Writer, confirmed: int) -> None:
        """Use a path until it breaks or the connection is over; `confirmed` bytes have arrived at the other end."""
        self._confirm(confirmed)
        self._unsent = self._kept.copy()
        tasks = [asyncio.create_task(self._send(writer)), asyncio.create_task(self._receive(reader, writer))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            writer.close()
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(end, OSError | EOFError | asyncio.CancelledError):
                raise end

    def close(self) -> None:
        """Close the stream here."""
        self._reading.cancel()
        self._writer.close()
        self.over.set()

    async def _keep_what_comes(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self._reader.read(CHUNK):
                self._kept.append(data)
                self._unsent.append(data)
                self._read += len(data)
                self._news.set()
                while self._read - self._confirmed > WINDOW:
                    self._room.clear()
                    await self._room.wait()
        self._ended = True
        self._news.set()

    def _confirm(self, position: int) -> None:
        while self._kept and self._confirmed + len(self._kept[0]) <= position:
            self._confirmed += len(self._kept.popleft())
        if self._kept and position > self._confirmed:
            self._kept[0] = self._kept[0][position - self._confirmed :]
            self._confirmed = position
        self._room.set()

    async def _send(self, writer: Writer) -> None:
        told, has_ended = self.received, False
        while True:
            self._news.clear()
            while self._unsent:
                data = self._next()
                writer.write(FRAME.pack(DATA, len(data)) + data)
                await writer.drain()
            if self.received > told:
                told = self.received
                writer.write(FRAME.pack(CONFIRM, POSITION.size) + POSITION.pack(told))
            if self._ended and not has_ended and not self._unsent:
                has_ended = True
                writer.write(FRAME.pack(END, 0))
            await writer.drain()
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                writer.write(FRAME.pack(PING, 0))

    def _next(self) -> bytes:
        """What to send next: small pieces together."""
        pieces = [self._unsent.popleft()]
        size = len(pieces[0])
        while self._unsent and size + len(self._unsent[0]) <= CHUNK:
            size += len(self._unsent[0])
            pieces.append(self._unsent.popleft())
        return b"".join(pieces)

    async def _receive(self, reader: Reader, writer: Writer) -> None:
        while True:
            async with asyncio.timeout(SILENT_SECONDS):
                kind, length = FRAME.unpack(await reader.readexactly(FRAME.size))
                data = await reader.readexactly(length)
            if kind == DATA:
                self._writer.write(data)
                self.received += length
                self._news.set()
                with contextlib.suppress(OSError):  # nobody reads here any more: the end is on its way
                    await self._writer.drain()
            elif kind == CONFIRM:
                self._confirm(*POSITION.unpack(data))
            elif kind == END:
                if self._before_end and not self._ended:
                    await self._before_end()
                self.close()
                writer.write(FRAME.pack(END, 0))  # the other end need not wait for more
                await writer.drain()
                return


class Relay:
    """The far end: opens a connection to a port of this pod when asked to, and keeps it between paths."""

    def __init__(self, targets: Mapping[int, ssl.SSLContext | None]) -> None:
        self._targets = targets
        self._known: dict[bytes, Connection] = {}
        self._carried: dict[bytes, asyncio.Task[None]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Deal with a new path, for `asyncio.start_server`."""
        with contextlib.suppress(OSError, EOFError):
            mark, identity, port, is_new, confirmed = HELLO.unpack(await reader.readexactly(HELLO.size))
            if mark == MARK and port in self._targets:
                connection = await self._find(identity, port, is_new)
                writer.write(ANSWER.pack(connection is not None, connection.received if connection else 0))
                if connection is not None:
                    carried = asyncio.create_task(connection.carry(reader, writer, confirmed))
                    self._carried[identity] = carried
                    await asyncio.wait([carried])
                    await self._wait_for_another(identity, connection, carried)
        writer.close()

    async def _find(self, identity: bytes, port: int, is_new: bool) -> Connection | None:
        if earlier := self._carried.get(identity):
            earlier.cancel()
            await asyncio.wait([earlier])
        if is_new and identity not in self._known:
            stream = await asyncio.open_connection("127.0.0.1", port, ssl=self._targets[port])
            self._known[identity] = Connection(*stream)
        return self._known.get(identity)

    async def _wait_for_another(self, identity: bytes, connection: Connection, carried: asyncio.Task[None]) -> None:
        if not connection.over.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEPT_SECONDS):
                    await connection.over.wait()
            if self._carried.get(identity) is not carried and not connection.over.is_set():
                return  # another path took over in the meantime
        connection.close()
        self._known.pop(identity, None)
        self._carried.pop(identity, None)


async def target(text: str) -> tuple[int, ssl.SSLContext | None]:
    """The port that the command line means, and how to speak to it; a file is served there from now on."""
    if text.startswith(FILE_MARK):
        port, _, path = text.removeprefix(FILE_MARK).partition(":")
        await _serve(path, int(port))
        return int(port), None
    if text.startswith(TLS_MARK):
        return int(text.removeprefix(TLS_MARK)), _tls(os.environ[ENV_KEYS])
    return int(text), None


async def _serve(path: str, port: int) -> None:
    def give(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{platform.python_version()}\n".encode() + Path(path).read_bytes())
        writer.close()

    await asyncio.start_server(give, "127.0.0.1", port)


def _tls(folder: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=f"{folder}/ca.crt")
    # All of a run have the same certificate, which names no host.
    context.check_hostname = False
    context.load_cert_chain(f"{folder}/tls.crt", f"{folder}/tls.key")
    return context


async def main(port: int, texts: list[str]) -> None:
    """Serve on a port of this pod's own address, which only a port-forward reaches."""
    relay = Relay(dict([await target(text) for text in texts]))
    server = await asyncio.start_server(relay.serve, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
