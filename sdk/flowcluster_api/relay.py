"""TCP connections that survive a broken port-forward.

A driver outside Kubernetes reaches its cluster by a port-forward. Its network path leads through the API server and
breaks when that restarts. A Dask scheduler forgets all that a client had there as soon as the client's connection
ends. So each end of the relay keeps the bytes that the other end has not confirmed, and both resume over a new path
where the last one broke off.

The near end is in the driver's agent. The far end is this file. It runs as a program in a container beside the
scheduler or head, and needs only the standard library: ``python -c SOURCE PORT TARGET [TARGET ...]``. Targets:

- ``PORT``: a port of the pod.
- ``tls:PORT``: a port that requires a client certificate. The far end presents the run's own: the API server has
  authorized each client that reaches the far end.
- ``file:PORT:PATH``: the far end itself serves this port. It sends a line with the version of its Python, which is the
  cluster's, and then the content of the file.
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

#: First message of the near end on a new path: a mark, the connection's identity, its target port, whether it is new,
#: and how many bytes have arrived at the near end.
HELLO = struct.Struct("!4s16sH?Q")
MARK = b"fcr1"
#: The far end's answer: whether it knows the connection, and how many bytes have arrived there.
ANSWER = struct.Struct("!?Q")
#: Afterwards both ends send frames. A frame begins with its kind and length; a `POSITION` or data follows.
FRAME, POSITION = struct.Struct("!BI"), struct.Struct("!Q")
DATA, CONFIRM, END, PING = range(4)
#: The port on which the far end listens in its pod.
PORT = 8790
#: Prefixes of targets that use TLS, or that are files.
TLS_MARK, FILE_MARK = "tls:", "file:"
#: Environment variable with the folder of the run's credentials (`driver.ENV_KEYS`).
ENV_KEYS = "FLOWCLUSTER_KEYS"

#: Maximum bytes of a frame, and maximum bytes that one end sends and keeps before the other confirms them.
CHUNK, WINDOW = 2**18, 2**23
#: Seconds between pings on an idle path, and seconds without any frame after which a path counts as broken.
PING_SECONDS, SILENT_SECONDS = 5.0, 20.0
#: Seconds for which the far end keeps a connection without a path.
KEPT_SECONDS = 900.0


class Reader(Protocol):
    """The part of `asyncio.StreamReader` that a `Connection` uses."""

    async def readexactly(self, n: int) -> bytes:
        """Return exactly `n` bytes. Raise `EOFError` or `OSError` when the path ends earlier."""


class Writer(Protocol):
    """The part of `asyncio.StreamWriter` that a `Connection` uses."""

    def write(self, data: bytes) -> None:
        """Buffer data, which is sent later."""

    async def drain(self) -> None:
        """Wait until the buffer has room again."""

    def close(self) -> None:
        """Send what is buffered, then close."""


class Connection:
    """One end of a connection: a local TCP stream that one path after the other carries.

    Attributes:
        received: bytes that have arrived from the other end.
        over: set once either end has closed its stream.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        before_end: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Start to read the local stream.

        Args:
            reader: of the local stream.
            writer: of the local stream.
            before_end: awaited once the other end has closed its stream, before the local stream is closed.
        """
        self.received = 0
        self._before_end = before_end
        self.over = asyncio.Event()
        self._reader, self._writer = reader, writer
        self._unconfirmed: deque[bytes] = deque()
        self._unsent: deque[bytes] = deque()
        self._confirmed = self._read = 0
        self._ended = False
        self._must_send, self._has_room = asyncio.Event(), asyncio.Event()
        self._reading = asyncio.create_task(self._read_local())

    async def carry(self, reader: Reader, writer: Writer, confirmed: int) -> None:
        """Use a path until it breaks or the connection is over.

        Args:
            reader: of the path.
            writer: of the path; closed on return.
            confirmed: bytes that have arrived at the other end.
        """
        self._confirm(confirmed)
        self._unsent = self._unconfirmed.copy()
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
        """Close the local stream."""
        self._reading.cancel()
        self._writer.close()
        self.over.set()

    async def _read_local(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self._reader.read(CHUNK):
                self._unconfirmed.append(data)
                self._unsent.append(data)
                self._read += len(data)
                self._must_send.set()
                while self._read - self._confirmed > WINDOW:
                    self._has_room.clear()
                    await self._has_room.wait()
        self._ended = True
        self._must_send.set()

    def _confirm(self, position: int) -> None:
        while self._unconfirmed and self._confirmed + len(self._unconfirmed[0]) <= position:
            self._confirmed += len(self._unconfirmed.popleft())
        if self._unconfirmed and position > self._confirmed:
            self._unconfirmed[0] = self._unconfirmed[0][position - self._confirmed :]
            self._confirmed = position
        self._has_room.set()

    async def _send(self, writer: Writer) -> None:
        reported, has_sent_end = self.received, False
        while True:
            self._must_send.clear()
            while self._unsent:
                data = self._next_chunk()
                writer.write(FRAME.pack(DATA, len(data)) + data)
                await writer.drain()
            if self.received > reported:
                reported = self.received
                writer.write(FRAME.pack(CONFIRM, POSITION.size) + POSITION.pack(reported))
            if self._ended and not has_sent_end and not self._unsent:
                has_sent_end = True
                writer.write(FRAME.pack(END, 0))
            await writer.drain()
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await self._must_send.wait()
            except TimeoutError:
                writer.write(FRAME.pack(PING, 0))

    def _next_chunk(self) -> bytes:
        """Return the data of the next frame: small pieces are joined."""
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
                self._must_send.set()
                with contextlib.suppress(OSError):  # the local peer has closed its stream: this end sends END soon
                    await self._writer.drain()
            elif kind == CONFIRM:
                self._confirm(*POSITION.unpack(data))
            elif kind == END:
                if self._before_end and not self._ended:
                    await self._before_end()
                self.close()
                writer.write(FRAME.pack(END, 0))  # so the other end does not wait for more
                await writer.drain()
                return


class Relay:
    """The far end: opens connections to ports of its pod on request, and keeps each one between paths."""

    def __init__(self, targets: Mapping[int, ssl.SSLContext | None]) -> None:
        self._targets = targets
        self._connections: dict[bytes, Connection] = {}
        self._paths: dict[bytes, asyncio.Task[None]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle a new path, as a callback of `asyncio.start_server`."""
        with contextlib.suppress(OSError, EOFError):
            mark, identity, port, is_new, confirmed = HELLO.unpack(await reader.readexactly(HELLO.size))
            if mark == MARK and port in self._targets:
                connection = await self._find(identity, port, is_new)
                writer.write(ANSWER.pack(connection is not None, connection.received if connection else 0))
                if connection is not None:
                    path = asyncio.create_task(connection.carry(reader, writer, confirmed))
                    self._paths[identity] = path
                    await asyncio.wait([path])
                    await self._wait_for_another(identity, connection, path)
        writer.close()

    async def _find(self, identity: bytes, port: int, is_new: bool) -> Connection | None:
        if earlier := self._paths.get(identity):
            earlier.cancel()
            await asyncio.wait([earlier])
        if is_new and identity not in self._connections:
            stream = await asyncio.open_connection("127.0.0.1", port, ssl=self._targets[port])
            self._connections[identity] = Connection(*stream)
        return self._connections.get(identity)

    async def _wait_for_another(self, identity: bytes, connection: Connection, path: asyncio.Task[None]) -> None:
        if not connection.over.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEPT_SECONDS):
                    await connection.over.wait()
            if self._paths.get(identity) is not path and not connection.over.is_set():
                return  # another path took over in the meantime
        connection.close()
        self._connections.pop(identity, None)
        self._paths.pop(identity, None)


async def target(text: str) -> tuple[int, ssl.SSLContext | None]:
    """Return the port of a target, and its TLS context if it uses TLS. Start to serve a target that is a file.

    Args:
        text: a target of the command line.
    """
    if text.startswith(FILE_MARK):
        port, _, path = text.removeprefix(FILE_MARK).partition(":")
        await _serve(path, int(port))
        return int(port), None
    if text.startswith(TLS_MARK):
        return int(text.removeprefix(TLS_MARK)), _tls(os.environ[ENV_KEYS])
    return int(text), None


async def _serve(path: str, port: int) -> None:
    def send(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{platform.python_version()}\n".encode() + Path(path).read_bytes())
        writer.close()

    await asyncio.start_server(send, "127.0.0.1", port)


def _tls(folder: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=f"{folder}/ca.crt")
    # All pods of a run have the same certificate, which names no host.
    context.check_hostname = False
    context.load_cert_chain(f"{folder}/tls.crt", f"{folder}/tls.key")
    return context


async def main(port: int, texts: list[str]) -> None:
    """Serve on the loopback address of the pod, which only a port-forward reaches.

    Args:
        port: to listen on.
        texts: targets of the command line.
    """
    relay = Relay(dict([await target(text) for text in texts]))
    server = await asyncio.start_server(relay.serve, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
