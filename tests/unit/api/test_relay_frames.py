"""A connection over paths in memory, which break at any byte of any frame."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcluster_api import relay
from flowcluster_api.relay import Connection

#: Bytes of a frame and of the window here: a few frames fill it.
CHUNK, WINDOW = 16, 64
#: What a stream brings, piece by piece; no two bytes near each other are alike.
PIECES = st.lists(st.integers(1, 60), max_size=12).map(
    lambda sizes: [bytes((7 * number + place) % 251 for place in range(size)) for number, size in enumerate(sizes)]
)
#: Bytes after which a path breaks: somewhere in a frame's head, in its data, or between two frames.
CUTS = st.lists(st.integers(0, 120), max_size=6)


class Sink:
    """The local stream to which a connection writes.

    Attributes:
        data: what has arrived.
    """

    def __init__(self, size: int) -> None:
        self.data = b""
        self._size = size
        self.complete = asyncio.Event()
        self.write(b"")

    def write(self, data: bytes) -> None:
        """See `asyncio.StreamWriter.write`."""
        self.data += data
        if len(self.data) >= self._size:
            self.complete.set()

    async def drain(self) -> None:
        """See `asyncio.StreamWriter.drain`."""

    def close(self) -> None:
        """See `asyncio.StreamWriter.close`."""


class Way:
    """One direction of a path."""

    def __init__(self, path: Path) -> None:
        self.reader = asyncio.StreamReader()
        self._path = path

    def write(self, data: bytes) -> None:
        """See `relay.Writer.write`: what the path still carries arrives."""
        if not self._path.is_broken:
            self.reader.feed_data(data[: self._path.left])
        self._path.carried(len(data))

    async def drain(self) -> None:
        """See `relay.Writer.drain`."""
        await asyncio.sleep(0)  # let the other end read
        if self._path.is_broken:
            raise ConnectionResetError

    def close(self) -> None:
        """See `relay.Writer.close`."""
        self._path.cut()


class Path:
    """Both directions, which break together after `left` bytes."""

    def __init__(self, left: int) -> None:
        self.left, self.is_broken = left, False
        self.there, self.back = Way(self), Way(self)

    def carried(self, size: int) -> None:
        """Count bytes."""
        self.left -= size
        if self.left <= 0:
            self.cut()

    def cut(self) -> None:
        """Break."""
        if not self.is_broken:
            self.is_broken = True
            self.there.reader.feed_eof()
            self.back.reader.feed_eof()


def end_of(pieces: list[bytes], sink: Sink) -> tuple[Connection, asyncio.StreamReader]:
    """Return one end. Its local stream sends these pieces and accepts what arrives."""
    stream = asyncio.StreamReader()
    for piece in pieces:
        stream.feed_data(piece)
    writer: Any = sink
    return Connection(stream, writer), stream


async def transfer(sent: list[bytes], answered: list[bytes], cuts: list[int]) -> tuple[bytes, bytes]:
    """Send in both directions over paths that break; return what arrives at the far end and at the near end."""
    there, back = Sink(len(b"".join(sent))), Sink(len(b"".join(answered)))
    (near, stream), (far, _) = end_of(sent, back), end_of(answered, there)
    complete: asyncio.Future[Any] = asyncio.gather(there.complete.wait(), back.complete.wait())
    for cut in [*cuts, 10**9]:
        path = Path(cut)
        carrying: asyncio.Future[Any] = asyncio.gather(
            near.carry(path.back.reader, path.there, far.received),
            far.carry(path.there.reader, path.back, near.received),
        )
        await asyncio.wait({carrying, complete}, return_when=asyncio.FIRST_COMPLETED)
        if cut < 10**9:
            path.cut()
        else:
            stream.feed_eof()
        await carrying
    assert near.over.is_set()
    assert far.over.is_set()
    return there.data, back.data


@given(PIECES, PIECES, CUTS)
def test_bytes_arrive_once_and_in_order_wherever_paths_break(
    sent: list[bytes], answered: list[bytes], cuts: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relay, "CHUNK", CHUNK)
        patch.setattr(relay, "WINDOW", WINDOW)
        arrived = asyncio.run(asyncio.wait_for(transfer(sent, answered, cuts), 20))

    assert arrived == (b"".join(sent), b"".join(answered))


@given(st.integers(0, 255).filter(lambda kind: kind > relay.PING), st.binary(max_size=20))
def test_frames_of_an_unknown_kind_are_skipped(kind: int, data: bytes) -> None:
    """A newer near end can send further kinds."""

    async def story() -> bytes:
        sink, path = Sink(3), Path(10**9)
        connection, _ = end_of([], sink)
        path.there.write(relay.FRAME.pack(kind, len(data)) + data + relay.FRAME.pack(relay.DATA, 3) + b"abc")
        carrying = asyncio.create_task(connection.carry(path.there.reader, path.back, 0))
        await sink.complete.wait()
        path.cut()
        await carrying
        connection.close()
        return sink.data

    assert asyncio.run(story()) == b"abc"
